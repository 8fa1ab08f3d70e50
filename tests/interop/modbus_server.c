/* A Modbus server of libmodbus, on a TCP port or a serial one: 2,000 holding registers, register n holds n.
   On TCP unit 9 is not there; the serial one is unit 1. */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    int serial = argv[1][0] == '/';
    modbus_t *context = serial ? modbus_new_rtu(argv[1], 115200, 'N', 8, 1) : modbus_new_tcp("127.0.0.1", atoi(argv[1]));
    modbus_mapping_t *mapping = modbus_mapping_new(100, 100, 2000, 100);
    if (context == NULL || mapping == NULL) return 1;
    for (int at = 0; at < 2000; at++) mapping->tab_registers[at] = (uint16_t) at;
    for (int at = 0; at < 100; at++) mapping->tab_bits[at] = at % 3 == 0;
    int listener = -1;
    if (serial) {
        if (modbus_set_slave(context, 1) == -1 || modbus_connect(context) == -1) return 1;
    } else if ((listener = modbus_tcp_listen(context, 4)) == -1)
        return 1;
    puts("ready");
    fflush(stdout);
    for (;;) {
        if (!serial && modbus_tcp_accept(context, &listener) == -1) return 1;
        for (;;) {
            uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
            int length = modbus_receive(context, query);
            if (length == -1) {
                if (serial) continue;
                break;
            }
            if (length == 0) continue;
            if (!serial && query[6] == 9)
                modbus_reply_exception(context, query, 11);
            else
                modbus_reply(context, query, length, mapping);
        }
        modbus_close(context);
    }
}
