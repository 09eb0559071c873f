#include "daemon/kernel/users.h"

#include <grp.h>
#include <pwd.h>

#include <cerrno>
#include <vector>

#include "daemon/core/logins_map.h"

namespace dipc {
namespace {

constexpr std::size_t kKeptMax = 4096;  // names come from peers: a bound on what they can make us remember

// The *_r functions want a buffer and say ERANGE when it is too small (getpwnam(3)).
template <typename Entry, typename Lookup, typename Use>
void look_up(Lookup&& lookup, Use&& use) {
  std::vector<char> buffer(2048);
  for (;;) {
    Entry entry{};
    Entry* found = nullptr;
    const int error = lookup(&entry, buffer.data(), buffer.size(), &found);
    if (error == ERANGE && buffer.size() < (1u << 22)) {
      buffer.resize(buffer.size() * 2);
      continue;
    }
    if (error == EINTR) continue;
    if (found != nullptr) use(*found);
    return;
  }
}

std::optional<Identity> find_identity(const std::string& login) {
  std::optional<Identity> identity;
  look_up<passwd>([&](passwd* entry, char* buffer, std::size_t size,
                      passwd** found) { return getpwnam_r(login.c_str(), entry, buffer, size, found); },
                  [&](const passwd& entry) {
                    identity = Identity{entry.pw_uid, entry.pw_gid, {}};
                  });
  if (!identity) return identity;
  int count = 32;
  for (;;) {
    identity->groups.resize(static_cast<std::size_t>(count));
    const int asked = count;
    if (getgrouplist(login.c_str(), identity->gid, identity->groups.data(), &count) >= 0) break;
    if (count <= asked) count = asked * 2;
  }
  identity->groups.resize(static_cast<std::size_t>(count));
  return identity;
}

}  // namespace

template <typename Key, typename Value, typename Find>
Value Users::kept(std::map<Key, Kept<Value>>& cache, const Key& key, Find&& find) {
  const TimePoint now = std::chrono::steady_clock::now();
  const auto found = cache.find(key);
  if (found != cache.end() && now < found->second.until) return found->second.value;
  if (cache.size() >= kKeptMax) cache.clear();
  Value value = find();
  cache.insert_or_assign(key, Kept<Value>{value, now + keep_});
  return value;
}

std::optional<Identity> Users::identity_of_login(const std::string& login) {
  if (login.size() > kLoginBytesMax) return std::nullopt;
  return kept(identities_, login, [&] { return find_identity(login); });
}

std::string Users::login_of(uid_t uid) {
  return kept(logins_, uid, [&] {
    std::string login;
    look_up<passwd>([&](passwd* entry, char* buffer, std::size_t size,
                        passwd** found) { return getpwuid_r(uid, entry, buffer, size, found); },
                    [&](const passwd& entry) { login = entry.pw_name; });
    return login;
  });
}

std::string Users::group_name_of(gid_t gid) {
  return kept(group_names_, gid, [&] {
    std::string name;
    look_up<group>([&](group* entry, char* buffer, std::size_t size,
                       group** found) { return getgrgid_r(gid, entry, buffer, size, found); },
                   [&](const group& entry) { name = entry.gr_name; });
    return name;
  });
}

std::optional<uid_t> Users::uid_of(const std::string& login) {
  const std::optional<Identity> identity = identity_of_login(login);
  if (!identity) return std::nullopt;
  return identity->uid;
}

std::optional<gid_t> Users::gid_of(const std::string& group_name) {
  if (group_name.size() > kLoginBytesMax) return std::nullopt;
  return kept(gids_, group_name, [&] {
    std::optional<gid_t> gid;
    look_up<group>([&](group* entry, char* buffer, std::size_t size,
                       group** found) { return getgrnam_r(group_name.c_str(), entry, buffer, size, found); },
                   [&](const group& entry) { gid = entry.gr_gid; });
    return gid;
  });
}

void Users::reload() {
  identities_.clear();
  logins_.clear();
  group_names_.clear();
  gids_.clear();
}

}  // namespace dipc
