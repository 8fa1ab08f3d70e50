// An OPC UA server of the npm package node-opcua: 1,200 counters, at most 500 nodes a read, and values of every kind.
const { OPCUACertificateManager, OPCUAServer, Variant, DataType, StatusCodes, DataValue } = require("node-opcua");
(async () => {
  const server = new OPCUAServer({
    port: Number(process.argv[2]),
    allowAnonymous: true,
    // With a folder given, it trusts only the certificates there; without, any.
    serverCertificateManager: process.argv[3]
      ? new OPCUACertificateManager({ automaticallyAcceptUnknownCertificate: false, rootFolder: process.argv[3] })
      : undefined,
    serverCapabilities: { operationLimits: { maxNodesPerRead: 500, maxMonitoredItemsPerCall: 200 } },
    userManager: { isValidUser: (user, password) => user === "operator" && password === "secret" },
  });
  await server.initialize();
  const namespace = server.engine.addressSpace.getOwnNamespace();
  const folder = namespace.addObject({ organizedBy: server.engine.addressSpace.rootFolder.objects, browseName: "Plant" });
  let count = 0;
  setInterval(() => { count += 1; }, 100);
  for (let n = 0; n < 1200; n += 1) {
    namespace.addVariable({
      componentOf: folder, browseName: `N${n}`, nodeId: `s=N${n}`, dataType: "Double", minimumSamplingInterval: 50,
      value: { get: () => new Variant({ dataType: DataType.Double, value: count + n }) },
    });
  }
  const fixed = (name, dataType, value, status) => namespace.addVariable({
    componentOf: folder, browseName: name, nodeId: `s=${name}`, dataType,
    value: { timestamped_get: () => new DataValue({
      value: new Variant({ dataType, value }), statusCode: status ?? StatusCodes.Good, sourceTimestamp: new Date("2024-01-01T00:00:00Z"),
    }) },
  });
  fixed("Text", DataType.String, "°C");
  fixed("Flag", DataType.Boolean, true);
  fixed("Bad", DataType.Double, 1.5, StatusCodes.BadSensorFailure);
  fixed("Uncertain", DataType.Double, 1.5, StatusCodes.UncertainLastUsableValue);
  let setpoint = 5;
  namespace.addVariable({
    componentOf: folder, browseName: "Setpoint", nodeId: "s=Setpoint", dataType: "Int16",
    value: {
      get: () => new Variant({ dataType: DataType.Int16, value: setpoint }),
      set: (variant) => { setpoint = variant.value; return StatusCodes.Good; },
    },
  });
  await server.start();
  console.log("ready");
})();
