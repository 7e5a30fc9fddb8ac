/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives the files named as arguments to a fuzz target, one after another, without a fuzzer: how
 * seeds and what a fuzzer once found are run again as ordinary tests. A fuzzer brings a main of its
 * own, so this one is compiled only with FUZZ_REPLAY.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/scope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifdef FUZZ_REPLAY
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        SCOPED(buf_done) struct buf input = {0};
        SCOPED_FREE uint8_t *exact = NULL;
        struct error err = {0};

        if (file_read(argv[i], 64 << 20, &input, &err) < 0) {
            (void)fprintf(stderr, "%s\n", err.message);
            return 1;
        }
        /* A copy of exactly this size, so that a sanitizer sees the first byte too many. */
        exact = xmemdup(input.data, input.size);
        (void)LLVMFuzzerTestOneInput(exact, input.size);
    }
    (void)printf("%d replayed\n", argc - 1);
    return argc > 1 ? 0 : 1;
}
#endif
