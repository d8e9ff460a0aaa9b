/* SPDX-License-Identifier: Apache-2.0 */
/** hpx.h - everything: the one header most programs include. */
#ifndef HPX_HPX_H
#define HPX_HPX_H

#include <hpx/base.h>
#include <hpx/client.h>
#include <hpx/engine.h>
#include <hpx/http.h>
#include <hpx/http_server.h>
#include <hpx/protocol.h>
#include <hpx/session.h>
#include <hpx/system.h>
#include <hpx/tls.h>
#include <hpx/tls_probe.h>
#include <hpx/ws.h>

#endif /* HPX_HPX_H */
