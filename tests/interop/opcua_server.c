/* An OPC UA server of open62541: 1,200 doubles, N0 to N1199, that hold their number; Setpoint may be written, Fixed not. */
#include <open62541/server.h>
#include <open62541/server_config_default.h>
#include <stdio.h>
#include <stdlib.h>

static void add(UA_Server *server, const char *name, UA_Byte access, const UA_DataType *type, void *value)
{
    UA_VariableAttributes attributes = UA_VariableAttributes_default;
    UA_Variant_setScalar(&attributes.value, value, type);
    attributes.dataType = type->typeId;
    attributes.accessLevel = access;
    attributes.displayName = UA_LOCALIZEDTEXT("", (char *) name);
    UA_Server_addVariableNode(server, UA_NODEID_STRING(1, (char *) name), UA_NODEID_NUMERIC(0, UA_NS0ID_OBJECTSFOLDER),
                              UA_NODEID_NUMERIC(0, UA_NS0ID_ORGANIZES), UA_QUALIFIEDNAME(1, (char *) name),
                              UA_NODEID_NUMERIC(0, UA_NS0ID_BASEDATAVARIABLETYPE), attributes, NULL, NULL);
}

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    UA_Server *server = UA_Server_new();
    UA_ServerConfig_setMinimal(UA_Server_getConfig(server), (UA_UInt16) atoi(argv[1]), NULL);
    UA_Byte read = UA_ACCESSLEVELMASK_READ, write = UA_ACCESSLEVELMASK_READ | UA_ACCESSLEVELMASK_WRITE;
    for (int at = 0; at < 1200; at++) {
        char name[16];
        snprintf(name, sizeof name, "N%d", at);
        UA_Double value = at;
        add(server, name, read, &UA_TYPES[UA_TYPES_DOUBLE], &value);
    }
    UA_Int32 fixed = 7;
    UA_Int16 setpoint = 5;
    add(server, "Fixed", read, &UA_TYPES[UA_TYPES_INT32], &fixed);
    add(server, "Setpoint", write, &UA_TYPES[UA_TYPES_INT16], &setpoint);
    if (UA_Server_run_startup(server) != UA_STATUSCODE_GOOD) return 1;
    puts("ready");
    fflush(stdout);
    if (freopen("/dev/null", "w", stdout) == NULL) return 1; /* it logs there, and nobody reads on */
    for (;;) UA_Server_run_iterate(server, true);
}
