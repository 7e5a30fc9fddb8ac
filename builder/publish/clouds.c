/* SPDX-License-Identifier: Apache-2.0 */
#include "publish/cloud.h"

const struct cloud *const clouds[CLOUDS] = {
    [CLOUD_AWS] = NULL,
    [CLOUD_OPENSTACK] = NULL,
    [CLOUD_DIRECTORY] = NULL,
};
