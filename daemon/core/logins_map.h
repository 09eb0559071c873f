#pragma once

// Who is who: which local login a login of another host acts as. The first line that fits decides; none: refused.
//
//   # login@host   local login
//   alice@vax      alicia
//   build-*@*      builder        * stands for any characters
//   *@vax          *              * on the right: the same name
//   root@*         nobody
//
// The same name is never root: where "*" on the right meets root it gives nobody. Only a line that writes root on its
// right ("root@vax root") lets another host's root act as root. Otherwise the common line "*@vax *" would hand out
// root.
//
// Without a file: root@* nobody, then *@* *.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "wire/parsed.h"

namespace dipc {

class LoginsMap {
 public:
  struct Mapped {
    std::string local;
    std::size_t line = 0;    // 0: a built-in rule
    bool same_name = false;  // by "*" on the right: the caller must not let an account of uid 0 through by it
  };

  LoginsMap();  // the rules without a file
  static Parsed<LoginsMap> parse(std::string_view text, std::string_view file);

  // Empty: refused, EACCES. `login` may be anything that a peer sent: what is no login name is refused.
  std::optional<Mapped> map(std::string_view login, std::string_view host) const;

  // The login L of `host` with map(L, host) == local, for IPC_STAT: a line that names L first, else the same name.
  // Never root for a login other than root. Empty: none, or no single one.
  std::optional<std::string> login_at_peer(std::string_view local, std::string_view host) const;

  // The rules as lines that say the same, without comments: "*@vax *".
  std::vector<std::string> lines() const;

  // For the log, beside an EACCES: "root@sun maps to nobody (logins.map:4)", "eve@sun matches no line of logins.map".
  std::string explain(std::string_view login, std::string_view host) const;

 private:
  struct Rule {
    std::string login;  // pattern
    std::string host;   // pattern
    std::string local;  // "*": the same name
    std::size_t line = 0;
  };
  std::string file_;
  std::vector<Rule> rules_;
};

// Of the name of a login or a group, whoever says it: what is remembered of peers' names has a bound.
inline constexpr std::size_t kLoginBytesMax = 256;

// What may be a login: 1 to 256 characters, none of them white space, control, '/', ':', ',', '@' or '*', not first a
// '-'.
bool is_login_name(std::string_view login);

}  // namespace dipc
