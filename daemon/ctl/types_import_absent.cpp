// Where libdw is not there to build with, as when crossing.

#include "daemon/ctl/types_import.h"

namespace dipc {

Parsed<ImportedTypes> import_types(const std::filesystem::path& program, const std::vector<std::string>&) {
  return tl::unexpected<Troubles>(
      Troubles{{"this dipcctl was built without libdw and can't read " + program.string(),
                "use the dipcctl of a host that has it: it reads programs of every machine"}});
}

}  // namespace dipc
