/** Preloaded with --require: writes what is loaded when the first connection is made to the file named in BENCH_LOADED. */
const { writeFileSync, statSync } = require('node:fs');
const { Socket } = require('node:net');
const before = new Set(process.moduleLoadList);
const { connect } = Socket.prototype;
Socket.prototype.connect = function (...args) {
  Socket.prototype.connect = connect;
  const files = Object.keys(require.cache).filter((file) => file !== __filename);
  const sizes = files.map((file) => statSync(file).size);
  const builtins = process.moduleLoadList.filter((name) => !before.has(name)).length;
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  writeFileSync(process.env.BENCH_LOADED, JSON.stringify({ files: files.length, bytes, builtins }));
  return connect.apply(this, args);
};
