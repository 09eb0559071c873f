#include "daemon/io/type_files.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include "layouts/parser.h"

namespace dipc {

Result<std::vector<std::filesystem::path>> type_files_of(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) return std::vector{path};
  std::vector<std::filesystem::path> files;
  for (auto entry = std::filesystem::directory_iterator(path, error); !error && entry != std::filesystem::end(entry);
       entry.increment(error)) {
    if (entry->path().extension() == ".types") files.push_back(entry->path());
  }
  if (error) return trouble("can't read " + path.string() + ": " + error.message());
  std::sort(files.begin(), files.end());
  return files;
}

namespace {

Trouble no_files_in(const std::filesystem::path& folder) {
  std::error_code unknown;
  const auto others = std::distance(std::filesystem::directory_iterator(folder, unknown), {});
  const std::string besides = others == 0 ? "" : ", only " + std::to_string(others) + " of other names";
  return {"there are no *.types files in " + folder.string() + besides, "name files or a folder that has some"};
}

}  // namespace

Parsed<TypeSet> read_types(const std::vector<std::filesystem::path>& paths) {
  Troubles troubles;
  std::vector<std::pair<std::string, std::string>> texts;  // name, contents
  std::set<std::filesystem::path> seen;
  for (const std::filesystem::path& path : paths) {
    const auto files = type_files_of(path);
    if (!files) {
      troubles.push_back(files.error());
      continue;
    }
    if (files->empty()) troubles.push_back(no_files_in(path));
    for (const std::filesystem::path& file : *files) {
      std::error_code unknown;
      if (!seen.insert(std::filesystem::weakly_canonical(file, unknown)).second) {
        troubles.push_back({file.string() + " is named twice", "name it once, or the folder that has it"});
        continue;
      }
      // A byte more than the parser takes, which then says so: what is not a file of declarations may have no end. An
      // iterator would throw what read() notes in bad(), as of a folder called x.types.
      std::string text(kTypesFileBytesMax + 1, '\0');
      errno = 0;
      std::ifstream stream(file, std::ios::binary);
      stream.read(text.data(), static_cast<std::streamsize>(text.size()));
      if (!stream.is_open() || stream.bad())
        troubles.push_back(
            {"can't read " + file.string() + (errno != 0 ? ": " + std::string(std::strerror(errno)) : ""),
             "name a file of declarations"});
      text.resize(static_cast<std::size_t>(stream.gcount()));
      texts.emplace_back(file.string(), std::move(text));
    }
  }
  if (!troubles.empty()) return tl::unexpected<Troubles>(std::move(troubles));
  std::vector<TypeFile> files;
  files.reserve(texts.size());
  for (const auto& [name, text] : texts) files.push_back({name, text});
  return parse_types(files);
}

}  // namespace dipc
