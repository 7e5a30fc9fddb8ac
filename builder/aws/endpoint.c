/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/endpoint.h"

#include <string.h>

#include "base/buf.h"
#include "base/text.h"

/* Partitions by how the names of their regions begin, the longer before what it begins with; the
 * last one has all others. Source: the partitions and endpoint rules that Amazon's SDKs come with.
 */
static const struct partition {
    const char *prefix, *suffix, *dualstack;
    bool plain_fips; /* EC2 and STS meet FIPS under their usual names */
} partitions[] = {
    {"cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn", false},
    {"us-gov-", "amazonaws.com", "api.aws", true},
    {"us-iso-", "c2s.ic.gov", "api.aws.ic.gov", false},
    {"us-isob-", "sc2s.sgov.gov", "api.aws.scloud", false},
    {"us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov", false},
    {"eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk", false},
    {"eusc-", "amazonaws.eu", "api.amazonwebservices.eu", false},
    {"", "amazonaws.com", "api.aws", false},
};

bool endpoint_is_region(const char *name)
{
    size_t size = strlen(name);

    return size != 0 && size <= 63 && name[0] != '-' && name[size - 1] != '-' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == size;
}

char *endpoint_url(const char *service, const char *region, bool fips, bool dualstack)
{
    const struct partition *partition = partitions;

    while (!text_starts(region, partition->prefix)) {
        partition++;
    }
    if (partition->plain_fips && !dualstack && strcmp(service, "ebs") != 0) {
        fips = false;
    }
    return xprintf("https://%s%s.%s.%s", service, fips ? "-fips" : "", region,
                   dualstack ? partition->dualstack : partition->suffix);
}
