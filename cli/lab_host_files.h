#pragma once

// The files that make a host of the lab: its configuration as an administrator would have written it, its certificate,
// its user database, and which of our programs it shows.

#include "cli/holder.h"
#include "cli/lab_directory.h"
#include "cli/lab_file.h"

namespace dipc {

// The cluster's certificate authority, below the lab's folder.
Result<void> make_authority(const LabDirectory& directory, const LabFile& lab);

// Everything below hosts/HOST. `host` is one of `lab`'s.
Result<void> write_host_files(const LabDirectory& directory, const LabFile& lab, const LabHost& host);

// What is fresh at every start of a host: an empty run/, a boot id.
Result<void> write_boot_files(const LabDirectory& directory, const LabHost& host);

// What its holder has to show and to start. Trouble: a program that the host needs is not built.
Result<HolderPlan> plan_holder(const LabDirectory& directory, const LabHost& host);

// Text of the files, for whoever wants to look at them.
std::string passwd_text(const LabHost& host);
std::string group_text(const LabHost& host);
std::string configuration_text(const LabFile& lab, const LabHost& host);

}  // namespace dipc
