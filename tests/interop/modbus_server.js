// A Modbus TCP server of the npm package modbus-serial: register n holds n, unit 9 is not there.
const { ServerTCP } = require("modbus-serial");
const port = Number(process.argv[2]);
const absent = (unit) => {
  if (unit === 9) throw { modbusErrorCode: 11 };
};
const holding = new Map();
const vector = {
  getHoldingRegister: (address, unit) => {
    absent(unit);
    if (address >= 1000 && address < 1010) throw { modbusErrorCode: 2 };
    return holding.get(address) ?? address;
  },
  getInputRegister: (address) => address ^ 0xff,
  getCoil: (address) => address % 3 === 0,
  getDiscreteInput: (address) => address % 2 === 0,
  setRegister: (address, value) => { holding.set(address, value); },
};
const server = new ServerTCP(vector, { host: "127.0.0.1", port, unitID: 255 });
server.on("initialized", () => console.log("ready"));
server.on("socketError", () => {});
