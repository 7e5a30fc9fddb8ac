/* SPDX-License-Identifier: Apache-2.0 */
/* What a publish to AWS would do: the calls, without making one. */
#include <stdlib.h>
#include <string.h>

#include "base/blocks.h"
#include "publish/publish_aws.h"

/* An action of the Query API, which is in the form and not in the URL; shown as if it were. */
static void query(const struct call_plan *plan, const struct aws_service *service,
                  const char *action, uint64_t count)
{
    SCOPED_FREE char *url = xprintf("%s/?Action=%s", service->endpoint, action);

    if (count > 0) {
        plan->call(plan->data, "POST", url, count, 0);
    }
}

static void path(const struct call_plan *plan, const struct aws_service *service,
                 const char *method, const char *name, uint64_t count, uint64_t bytes)
{
    SCOPED_FREE char *url = xprintf("%s%s", service->endpoint, name);

    if (count > 0) {
        plan->call(plan->data, method, url, count, bytes);
    }
}

static void plan_share(const struct target_aws *wanted, const struct aws_service *ec2,
                       const struct call_plan *plan)
{
    uint64_t calls = (wanted->share_count + EC2_SHARE_MAX - 1) / EC2_SHARE_MAX;

    query(plan, ec2, "ModifySnapshotAttribute", calls);
    query(plan, ec2, "ModifyImageAttribute", calls);
}

static void plan_copies(const struct target_aws *wanted, const struct aws_target *target,
                        const struct call_plan *plan)
{
    for (size_t i = 0; i < target->copy_count; i++) {
        const struct aws_service *ec2 = &target->copies[i];

        query(plan, ec2, "CopyImage", 1);
        query(plan, ec2, "CreateTags", 2);
        query(plan, ec2, "DescribeImages", wanted->has_deprecate_at ? 3 : 2);
        plan_share(wanted, ec2, plan);
    }
}

/* Polling is counted as if nothing ever had to be waited for. */
static void plan_all(struct publication *pub, const struct aws_target *target, uint64_t blocks,
                     const struct call_plan *plan)
{
    const struct target_aws *wanted = aws_wanted(pub);
    uint64_t later =
        (wanted->share_count > 0) + (wanted->copy_count > 0) + (uint64_t)wanted->has_deprecate_at;

    query(plan, &target->sts, "GetCallerIdentity", 1);
    query(plan, &target->ec2, "DescribeImages", 5 + later);
    query(plan, &target->ec2, "DescribeSnapshots", pub->parent != NULL ? 6 : 4);
    path(plan, &target->ebs, "POST", "/snapshots", 1, 0);
    path(plan, &target->ebs, "PUT", "/snapshots/SNAPSHOT/blocks/BLOCK", blocks,
         blocks * BLOCK_SIZE);
    path(plan, &target->ebs, "POST", "/snapshots/completion/SNAPSHOT", 1, 0);
    query(plan, &target->ec2, "RegisterImage", 1);
    query(plan, &target->ec2, "CreateTags", 1);
    plan_share(wanted, &target->ec2, plan);
    plan_copies(wanted, target, plan);
    query(plan, &target->ec2, "EnableImageDeprecation", wanted->has_deprecate_at ? 1 : 0);
    for (size_t i = 0; i < target->copy_count && wanted->has_deprecate_at; i++) {
        query(plan, &target->copies[i], "EnableImageDeprecation", 1);
    }
}

int aws_plan(struct publication *pub, const struct call_plan *plan, struct error *err)
{
    SCOPED(aws_end) struct aws_target target = {0};
    SCOPED_FREE uint64_t *blocks = NULL;
    size_t count;

    if (aws_prepare(pub, &target, err) < 0) {
        return -1;
    }
    parent_changes(pub->bundle, pub->parent, &blocks, &count);
    plan_all(pub, &target, count, plan);
    return 0;
}
