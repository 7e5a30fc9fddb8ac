/* SPDX-License-Identifier: Apache-2.0 */
/* The forms of the Query API: what botocore's serializer makes of the same parameters. */
#include "aws/ec2.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/text.h"

static void begin(struct buf *form, const char *action)
{
    buf_printf(form, "Action=%s&Version=2016-11-15", action);
}

/* NAME is a format of a plain name: lists are numbered from 1. */
static void add(struct buf *form, const char *value, const char *name, ...)
    __attribute__((format(printf, 3, 4)));

static void add(struct buf *form, const char *value, const char *name, ...)
{
    char text[128];
    va_list args;

    va_start(args, name);
    (void)vsnprintf(text, sizeof(text), name, args);
    va_end(args);
    buf_printf(form, "&%s=", text);
    http_encode(form, value, "");
}

void ec2_describe_form(const char *action, const char *filter, const char *value, const char *next,
                       struct buf *form)
{
    begin(form, action);
    add(form, "self", "Owner.1");
    add(form, filter, "Filter.1.Name");
    add(form, value, "Filter.1.Value.1");
    if (text_ends(action, "Images")) {
        add(form, "true", "IncludeDeprecated");
    }
    if (next != NULL) {
        add(form, next, "NextToken");
    }
}

static void add_disk(struct buf *form, const char *snapshot)
{
    static const char device[] = "/dev/xvda";

    add(form, device, "RootDeviceName");
    add(form, device, "BlockDeviceMapping.1.DeviceName");
    add(form, snapshot, "BlockDeviceMapping.1.Ebs.SnapshotId");
    add(form, "gp3", "BlockDeviceMapping.1.Ebs.VolumeType");
    add(form, "true", "BlockDeviceMapping.1.Ebs.DeleteOnTermination");
}

void ec2_register_form(const struct ec2_register *image, struct buf *form)
{
    begin(form, "RegisterImage");
    add(form, image->name, "Name");
    add(form, image->description, "Description");
    add(form, image->architecture, "Architecture");
    add(form, "hvm", "VirtualizationType");
    add(form, "true", "EnaSupport");
    add(form, "simple", "SriovNetSupport");
    if (image->boot_mode != NULL) {
        add(form, image->boot_mode, "BootMode");
    }
    if (image->tpm) {
        add(form, "v2.0", "TpmSupport");
    }
    if (image->imds_v2) {
        add(form, "v2.0", "ImdsSupport");
    }
    add_disk(form, image->snapshot);
    if (image->tags.count > 0) {
        add(form, "image", "TagSpecification.1.ResourceType");
    }
    for (size_t i = 0; i < image->tags.count; i++) {
        add(form, image->tags.items[i].key, "TagSpecification.1.Tag.%zu.Key", i + 1);
        add(form, image->tags.items[i].value, "TagSpecification.1.Tag.%zu.Value", i + 1);
    }
}

void ec2_copy_form(const struct ec2_copy *copy, struct buf *form)
{
    begin(form, "CopyImage");
    add(form, copy->name, "Name");
    add(form, copy->description, "Description");
    add(form, copy->token, "ClientToken");
    add(form, copy->region, "SourceRegion");
    add(form, copy->image, "SourceImageId");
    add(form, "true", "CopyImageTags");
}

void ec2_share_form(const char *resource, const struct ec2_share *share, struct buf *form)
{
    bool is_image = aws_is_id(resource, "ami");
    const char *list = is_image ? "LaunchPermission" : "CreateVolumePermission";

    begin(form, is_image ? "ModifyImageAttribute" : "ModifySnapshotAttribute");
    add(form, resource, is_image ? "ImageId" : "SnapshotId");
    if (share->all) {
        add(form, "all", "%s.Add.1.Group", list);
    }
    for (size_t i = 0; i < share->count; i++) {
        add(form, share->accounts[i], "%s.Add.%zu.UserId", list, i + 1);
    }
}

void ec2_shared_form(const char *resource, struct buf *form)
{
    bool is_image = aws_is_id(resource, "ami");

    begin(form, is_image ? "DescribeImageAttribute" : "DescribeSnapshotAttribute");
    add(form, is_image ? "launchPermission" : "createVolumePermission", "Attribute");
    add(form, resource, is_image ? "ImageId" : "SnapshotId");
}

void ec2_tag_form(const char *resource, const struct aws_tags *tags, struct buf *form)
{
    begin(form, "CreateTags");
    add(form, resource, "ResourceId.1");
    for (size_t i = 0; i < tags->count; i++) {
        add(form, tags->items[i].key, "Tag.%zu.Key", i + 1);
        add(form, tags->items[i].value, "Tag.%zu.Value", i + 1);
    }
}

void ec2_deprecate_form(const char *image, int64_t at, struct buf *form)
{
    char text[TEXT_TIME_MAX];

    begin(form, "EnableImageDeprecation");
    add(form, image, "ImageId");
    add(form, text_time(at, text), "DeprecateAt");
}

void ec2_remove_form(const char *resource, struct buf *form)
{
    bool is_image = aws_is_id(resource, "ami");

    begin(form, is_image ? "DeregisterImage" : "DeleteSnapshot");
    add(form, resource, is_image ? "ImageId" : "SnapshotId");
}
