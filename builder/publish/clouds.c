/* SPDX-License-Identifier: Apache-2.0 */
#include "publish/cloud.h"

const struct cloud *const clouds[CLOUDS] = {
    [CLOUD_AWS] = &cloud_aws,
    [CLOUD_OPENSTACK] = &cloud_openstack,
    [CLOUD_DIRECTORY] = &cloud_directory,
};
