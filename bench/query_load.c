// The lower bound of a client: send DEPTH times "QUERY|gmp|\n", wait for as many newlines, until COUNT are answered.
// usage: query_load HOST PORT DEPTH COUNT
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char LINE[] = "QUERY|gmp|\n";
static const size_t LINE_BYTES = sizeof LINE - 1;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void answer_batch(int sock, const char *batch, size_t depth) {
    for (size_t sent = 0; sent < depth * LINE_BYTES;) {
        ssize_t count = send(sock, batch + sent, depth * LINE_BYTES - sent, 0);
        if (count < 0) fail("send");
        sent += count;
    }
    char answers[65536];
    for (size_t answered = 0; answered < depth;) {
        ssize_t count = recv(sock, answers, sizeof answers, 0);
        if (count <= 0) fail("recv");
        for (ssize_t i = 0; i < count; i++) answered += answers[i] == '\n';
    }
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1) return 2;
    size_t depth = strtoul(argv[3], NULL, 10), count = strtoul(argv[4], NULL, 10);
    char *batch = malloc(depth * LINE_BYTES);
    for (size_t i = 0; i < depth; i++) memcpy(batch + i * LINE_BYTES, LINE, LINE_BYTES);
    int sock = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    if (sock < 0 || connect(sock, (struct sockaddr *)&address, sizeof address)) fail("connect");
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (size_t done = 0; done < count; done += depth) answer_batch(sock, batch, depth);
    return 0;
}
