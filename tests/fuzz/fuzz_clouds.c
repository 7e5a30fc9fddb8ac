/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as clouds.yaml: it is refused with a place in the file, or says what is missing, or all
 * that is needed is there. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/secret.h"
#include "openstack/keystone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* The file, by a name that stays the same. */
static int configuration(void)
{
    static int fd = -1;

    if (fd < 0) {
        SCOPED_FREE char *path = NULL;

        fd = memfd_create("clouds.yaml", MFD_CLOEXEC);
        require(fd >= 0);
        path = xprintf("/proc/self/fd/%d", fd);
        require(setenv("OS_CLIENT_CONFIG_FILE", path, 1) == 0);
        require(setenv("HOME", "/nowhere", 1) == 0 && unsetenv("XDG_CONFIG_HOME") == 0);
        require(unsetenv("OS_CLOUD") == 0 && unsetenv("OS_AUTH_URL") == 0 &&
                unsetenv("OS_AUTH_TYPE") == 0);
    }
    return fd;
}

static void check(const struct openstack_config *config)
{
    SCOPED(secret_done) struct buf text = {0};
    SCOPED(json_decrefp) json_t *request = NULL;
    struct error err = {0};

    require(config->auth_url != NULL && config->interface != NULL && config->source != NULL);
    require(config->auth != OPENSTACK_PASSWORD || config->password != NULL);
    require(config->auth != OPENSTACK_TOKEN || config->token != NULL);
    require(config->auth != OPENSTACK_APPLICATION_CREDENTIAL || config->credential_secret != NULL);
    require(config->auth == OPENSTACK_APPLICATION_CREDENTIAL || config->project_id != NULL ||
            config->project_name != NULL);
    require(keystone_request(config, &text, &err) == 0); /* YAML is UTF-8 */
    request = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
    require(request != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const clouds[] = {"lab", NULL};
    int fd = configuration();

    require(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    for (size_t i = 0; i < COUNT(clouds); i++) {
        SCOPED(openstack_config_freep) struct openstack_config *config = NULL;
        struct error err = {0};

        if (openstack_config_load(clouds[i], &config, &err) == 0) {
            check(config);
        } else {
            require(config == NULL && err.message[0] != '\0');
            require(err.kind == FAIL_USAGE || size > 1 << 20);
        }
    }
    return 0;
}
