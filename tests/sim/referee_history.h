#pragma once

// What the checkers know: every object that was made under a name, when the referee accepted it, when it went; every
// get, when it began and how it ended. Each check names itself in the violation, so that a test can ask whether it was
// this one that found a broken machine.
//
// unique      no two hosts hold live registered objects of one name at a time
// bounded     a get ends within op_timeout
// prompt      a get does not time out when all daemons and sessions have been well for a while
// accepted    no id goes to a program before the referee accepted the object
// alive       an id that a get returns was that of an object which existed at some time during the get
// exclusive   an exclusive create returns an object made by it, and no other create got that one
// absent      ENOENT only if there was a time during the get without a registered object of the name
// exists      EEXIST only if there was a time during the get with an object of the name
// disk        the table on disk is the table in memory, and reads back equal
// end         when all is calm: table and owners agree, removed names can be created again

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "daemon/core/registry_file.h"
#include "daemon/core/time.h"
#include "wire/messages.h"

namespace dipc::sim {

class History {
 public:
  struct Get {
    ObjectName name;
    bool create = false;
    bool exclusive = false;
    TimePoint begun{};
  };
  // Live and in a kernel, to the knowledge of its owner.
  struct Claimed {
    int host = 0;
    std::uint64_t generation = 0;
  };

  explicit History(Duration op_timeout) : op_timeout_(op_timeout) {}

  void made(TimePoint now, const ObjectName& name, std::uint64_t generation, std::int32_t id);
  void accepted(TimePoint now, const ObjectName& name, std::uint64_t generation);
  void gone(TimePoint now, std::uint64_t generation);  // from its kernel
  // Some object of the name, distributed or not, an entry of the table included, exists up to now.
  void occupied(TimePoint now, const ObjectName& name, bool undistributed);
  // From now on the name may have two owners: the table was lost for too long, or made to forget.
  void excuse(const ObjectName& name) { excused_.insert(name); }

  void finished(TimePoint now, const Get& get, Error error, const GetReply& reply, bool occupied_now,
                bool undistributed_now);
  void not_prompt(const ObjectName& name);  // a get of it timed out though nothing was wrong any more
  void given_up(const Get&) { ++ended_; }   // its program lost its daemon
  void check_unique(const ObjectName& name, const std::vector<Claimed>& claimed);
  void check_disk(const RegistryFile& memory, const RegistryFile& disk);
  void violation(const std::string& checker, const std::string& text);

  const std::string& first_violation() const { return violation_; }
  std::uint64_t gets_succeeded() const { return succeeded_; }
  std::uint64_t gets_ended() const { return ended_; }

 private:
  struct Object {
    ObjectName name;
    std::int32_t id = -1;
    TimePoint made{};
    TimePoint accepted = kNever;
    TimePoint gone = kNever;
    bool given_to_exclusive = false;
  };
  Duration op_timeout_;
  std::map<std::uint64_t, Object> objects_;  // by generation
  std::map<ObjectName, TimePoint> occupied_;
  std::map<ObjectName, TimePoint> undistributed_;
  std::set<ObjectName> excused_;
  std::string violation_;
  std::uint64_t succeeded_ = 0;
  std::uint64_t ended_ = 0;
};

}  // namespace dipc::sim
