// One stream for all tabs of a browser, which opens six connections to a host at most.
import { followStatus } from "./status-stream.js";

const ports = new Set();
let last = null;

followStatus((state) => {
  last = state;
  for (const port of ports) port.postMessage(state);
});

addEventListener("connect", ({ ports: [port] }) => {
  ports.add(port);
  port.onmessage = () => ports.delete(port); // its page is gone
  if (last) port.postMessage(last);
});
