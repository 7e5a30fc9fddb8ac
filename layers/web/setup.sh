#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Run inside the image: puts the pages in place, compressed beforehand, and switches the site on. What
# fails here fails the build.
set -eu

cp -r /mnt/site /srv/www
find /srv/www -type f -exec gzip -9 -k -n {} +

rm /etc/nginx/sites-enabled/default
ln -s ../sites-available/web /etc/nginx/sites-enabled/web
systemctl enable nginx

# Better now than at the first start. The check leaves empty logs behind.
nginx -t
rm -f /var/log/nginx/*.log
