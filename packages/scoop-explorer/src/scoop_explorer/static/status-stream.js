// The stream of the explorer's status, which is opened again whenever it ends, is refused, or falls silent.

const RETRY_MS = 1_000;
const SILENT_MS = 4_500; // the explorer sends its status every two seconds

// Call publish with {isConnected, status} at each status and each loss; return a function that ends the stream.
export const followStatus = (publish) => {
  let source = null;
  let timer = 0;
  const close = () => {
    clearTimeout(timer);
    source?.close();
  };
  const lose = () => {
    close();
    publish({ isConnected: false });
    timer = setTimeout(open, RETRY_MS); // also after a 503 or 502, at which an EventSource itself gives up
  };
  const expectStatus = () => {
    clearTimeout(timer);
    timer = setTimeout(lose, SILENT_MS);
  };
  const open = () => {
    source = new EventSource("/api/v1/events");
    source.addEventListener("error", lose);
    source.addEventListener("status", (event) => {
      expectStatus();
      publish({ isConnected: true, status: JSON.parse(event.data) });
    });
    expectStatus();
  };
  open();
  return close;
};
