/* Sends and counts UDP datagrams at a rate, in batches, so that neither end is what limits a measurement.
 *
 *   udpload receive PORT                         prints "ready", then "COUNT" after SILENCE_US without a datagram
 *   udpload send ADDRESS PORT BYTES RATE SECONDS RATE 0: as fast as it goes; prints "SENT SECONDS"
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, SEND_BATCH = 32, LARGEST = 9100, SILENCE_US = 150000, FIRST_WITHIN_S = 5, BUFFER_BYTES = 4 << 20 };

/* Resolves ARP and wakes sleeping daemons before the clock runs; not counted. */
static const char GREETING[] = "hey";
enum { GREETING_BYTES = 3, AFTER_GREETING_US = 30000 };

static char bytes[BATCH][LARGEST];
static struct iovec parts[BATCH];
static struct mmsghdr messages[BATCH];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void prepare(size_t length) {
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){.iov_base = bytes[i], .iov_len = length};
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
}

static int receive_all(int s, struct sockaddr_in here) {
    int size = BUFFER_BYTES;
    struct timeval silence = {0, SILENCE_US};
    setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence);
    if (bind(s, (struct sockaddr *)&here, sizeof here)) return perror("bind"), 1;
    prepare(LARGEST);
    puts("ready");
    fflush(stdout);
    unsigned long count = 0;
    double begun = now();
    for (;;) {
        int got = recvmmsg(s, messages, BATCH, MSG_WAITFORONE, 0);
        if (got <= 0 && (count || now() - begun > FIRST_WITHIN_S)) break;
        for (int i = 0; i < got; i++)
            if (messages[i].msg_len != GREETING_BYTES) count++;
    }
    printf("%lu\n", count);
    return 0;
}

static int send_all(int s, struct sockaddr_in there, size_t length, double rate, double seconds) {
    if (connect(s, (struct sockaddr *)&there, sizeof there)) return perror("connect"), 1;
    prepare(length);
    if (send(s, GREETING, GREETING_BYTES, 0) < 0) perror("send");
    usleep(AFTER_GREETING_US);
    unsigned long sent = 0;
    double begun = now(), passed;
    while ((passed = now() - begun) < seconds) {
        long due = rate > 0 ? (long)(passed * rate) - (long)sent : SEND_BATCH;
        if (due < 1) {
            nanosleep(&(struct timespec){0, 50000}, 0);
            continue;
        }
        int done = sendmmsg(s, messages, due > SEND_BATCH ? SEND_BATCH : (unsigned)due, 0);
        if (done > 0) sent += (unsigned long)done;
        else if (errno != ENOBUFS && errno != EAGAIN && errno != ECONNREFUSED) return perror("sendmmsg"), 1;
    }
    printf("%lu %.6f\n", sent, now() - begun);
    return 0;
}

int main(int count, char **words) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    if (count == 3 && !strcmp(words[1], "receive")) {
        address.sin_port = htons((unsigned short)atoi(words[2]));
        return receive_all(s, address);
    }
    if (count == 7 && !strcmp(words[1], "send")) {
        inet_pton(AF_INET, words[2], &address.sin_addr);
        address.sin_port = htons((unsigned short)atoi(words[3]));
        return send_all(s, address, (size_t)atoi(words[4]), atof(words[5]), atof(words[6]));
    }
    fprintf(stderr, "usage: udpload receive PORT | send ADDRESS PORT BYTES RATE SECONDS\n");
    return 2;
}
