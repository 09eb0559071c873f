#pragma once

// The host's user database: login and group names and their numbers, and who a login is. Answers are kept for a short
// time, because a remote call must not wait for a directory service each time; reload() forgets them.

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>

#include "daemon/core/time.h"
#include "daemon/kernel/identity.h"

namespace dipc {

class Users {
 public:
  explicit Users(Duration keep = std::chrono::seconds(30)) : keep_(keep) {}

  // uid, gid and supplementary groups (getpwnam_r, getgrouplist); nothing if there is no such login.
  std::optional<Identity> identity_of_login(const std::string& login);
  // Empty: no name.
  std::string login_of(uid_t uid);
  std::string group_name_of(gid_t gid);
  std::optional<uid_t> uid_of(const std::string& login);
  std::optional<gid_t> gid_of(const std::string& group_name);

  void reload();

 private:
  template <typename T>
  struct Kept {
    T value;
    TimePoint until;
  };
  template <typename Key, typename Value, typename Find>
  Value kept(std::map<Key, Kept<Value>>& cache, const Key& key, Find&& find);

  Duration keep_;
  std::map<std::string, Kept<std::optional<Identity>>> identities_;
  std::map<uid_t, Kept<std::string>> logins_;
  std::map<gid_t, Kept<std::string>> group_names_;
  std::map<std::string, Kept<std::optional<gid_t>>> gids_;
};

}  // namespace dipc
