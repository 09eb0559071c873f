#include "cli/network.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "cli/lab_process.h"

namespace dipc {
namespace {

constexpr const char* kBridge = "switch";
constexpr const char* kNowhere = "02:00:00:00:00:01";  // locally administered, and no interface has it

Result<void> ip(pid_t network_of, const std::string& lines) {
  const auto done = run_command({"ip", "-batch", "-"}, lines, network_of);
  if (!done) return tl::unexpected(done.error());
  if (done->status == 127) return trouble("ip is not installed", "install the package iproute2");
  if (done->status != 0) return trouble("the lab's network can't be made: ip says: " + done->output);
  return {};
}

}  // namespace

Result<LabProcess> start_switch(const std::string& record) {
  auto started = start_lab_process(CLONE_NEWNET, record, [](int control, int) {
    prctl(PR_SET_NAME, "dipc-lab-switch");
    await_keep(control);
    for (;;) pause();
  });
  if (!started) return tl::unexpected(started.error());
  const std::string name = kBridge;
  const auto made = ip(started->identity.pid, "link add name " + name + " type bridge\nlink set " + name + " up\n");
  if (!made) return tl::unexpected(made.error());
  return started;
}

Result<void> connect_host(pid_t switch_process, pid_t holder, std::size_t port, const LabHost& host) {
  const std::string name = "port" + std::to_string(port);
  // What is left of the pair of a host that was killed a moment ago: the kernel takes a namespace down in its own time.
  (void)run_command({"ip", "link", "del", name}, "", switch_process);
  const auto plugged =
      ip(switch_process, "link add name " + name + " type veth peer name eth0 netns " + std::to_string(holder) +
                             "\nlink set " + name + " master " + kBridge + " up\n");
  if (!plugged) return plugged;
  return ip(holder, "link set lo up\naddr add " + host.address + "/" + std::to_string(kLabPrefixBits) +
                        " dev eth0\nlink set eth0 up\n");
}

Result<void> cut(pid_t holder_of_from, const LabHost& to) {
  return ip(holder_of_from,
            "neigh replace " + to.address + " lladdr " + std::string(kNowhere) + " nud permanent dev eth0\n");
}

Result<void> heal(pid_t holder_of_from, const LabHost& to) {
  // Not an error if it was not cut.
  const auto done = run_command({"ip", "neigh", "del", to.address, "dev", "eth0"}, "", holder_of_from);
  if (!done) return tl::unexpected(done.error());
  return {};
}

}  // namespace dipc
