#!/usr/bin/env bash
# Prints the Debian mirror this machine installs from and where that is said, as "URI FILE:ENTRY". apt itself reads its sources, in
# whichever of their two formats; ENTRY counts lines of a .list and paragraphs of a .sources file.
set -euo pipefail

apt-get indextargets --format '$(COMPONENT) $(RELEASE) $(REPO_URI) $(SOURCESENTRY)' 'Created-By: Packages' |
    awk '$1 == "main" && $2 !~ /security|updates|backports/ && $3 !~ /security/ && !seen++ { print $3, $4 }'
