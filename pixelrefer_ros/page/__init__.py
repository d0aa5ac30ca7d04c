# SPDX-License-Identifier: Apache-2.0
"""`pixelrefer click`: a local web page that shows a node's picture, takes clicks and questions."""
