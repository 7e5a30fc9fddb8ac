/* SPDX-License-Identifier: Apache-2.0 */
/* Amazon's own host names: a service in a region of one of the partitions. Pure. */
#ifndef AWS_ENDPOINT_H
#define AWS_ENDPOINT_H

#include <stdbool.h>

/* True when NAME can be a region's: [a-z0-9-], 63 at most; it becomes a part of a host name. */
bool endpoint_is_region(const char *name);

/* "https://ec2.eu-west-1.amazonaws.com", a new string; FIPS and DUALSTACK ask for these variants of
 * it, REGION is the name of one. */
char *endpoint_url(const char *service, const char *region, bool fips, bool dualstack);

#endif
