// Any bytes: a recording comes out that can be merged, or an error does.

#include "dsaperf/profile/recording.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto bytes = dsaperf::ByteReader::over({reinterpret_cast<const char*>(data), size});
  if (!bytes) return 0;
  auto recording = dsaperf::profile::read_activity_log(*std::move(bytes));
  if (!recording) return 0;
  std::vector<dsaperf::profile::ProcessRecording> recordings;
  recordings.push_back(*std::move(recording));
  (void)dsaperf::profile::merged(std::move(recordings));
  return 0;
}
