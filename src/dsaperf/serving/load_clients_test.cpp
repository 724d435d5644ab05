#include "dsaperf/serving/load_clients.hpp"

#include "dsaperf/core/csv_numbers.hpp"
#include "dsaperf/core/data_dir.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <fstream>

namespace dsaperf::serving {
namespace {

using ::testing::HasSubstr;

Result<std::vector<LoadClient>> read(const std::string& rows,
                                     const std::string& header =
                                         "source,length_ratio,places_of_runs,prompts_a_place,"
                                         "cached_by,why\n") {
  const auto path = std::filesystem::path(::testing::TempDir()) / "clients.csv";
  std::ofstream(path) << header << rows;
  return load_clients(path);
}

TEST(LoadClientsTest, EveryShippedRowSaysSomethingAndWhy) {
  const auto clients = load_clients();
  ASSERT_TRUE(clients) << clients.error().message();
  EXPECT_FALSE(clients->empty());
  for (const auto& client : *clients)
    EXPECT_TRUE(client.length_ratio || client.cached_by) << client.source;
  const auto rows = read_number_rows(*data_dir() / "serving" / "clients.csv",
                                     std::array<std::string_view, 1>{"why"}, {});
  ASSERT_TRUE(rows) << rows.error().message();
  for (const auto& row : *rows) EXPECT_NE(row.words[0], "") << row.line;
}

TEST(LoadClientsTest, WhatIsNotSaidIsEmpty) {
  const auto clients = read("a@,,4 8 48,10,vllm,\nb@,0.5,,,,\n");
  ASSERT_TRUE(clients) << clients.error().message();
  ASSERT_EQ(clients->size(), 2U);
  const auto& runs = (*clients)[0];
  EXPECT_FALSE(runs.length_ratio);
  EXPECT_THAT(runs.places_of_runs, ::testing::ElementsAre(4, 8, 48));
  EXPECT_EQ(runs.prompts_a_place, 10);
  EXPECT_EQ(runs.cached_by, Engine::kVllm);
  EXPECT_EQ((*clients)[1].length_ratio, 0.5);
  EXPECT_FALSE((*clients)[1].cached_by);
}

TEST(LoadClientsTest, TheFirstRunAndWhatIsNoneHaveNoneBefore) {
  const LoadClient client{.source = "a@",
                          .length_ratio = {},
                          .places_of_runs = {4, 8, 48},
                          .prompts_a_place = 10,
                          .cached_by = Engine::kVllm};
  EXPECT_EQ(client.places_before(48), 8);
  for (const double places : {0.0, 4.0, 8.5, 16.0}) EXPECT_EQ(client.places_before(places), 0);
}

TEST(LoadClientsTest, ABadRowIsNamedByFileLineAndColumn) {
  const auto message = [](const std::string& row) {
    const auto clients = read("a@,1,,,,fine\n" + row + "\n");
    return clients ? "read" : clients.error().message();
  };
  for (const char* ratio : {"2", "0", "-1", "nan", "half"})
    EXPECT_THAT(message(std::string("b@,") + ratio + ",,,,"),
                HasSubstr(std::string("clients.csv:3: length_ratio '") + ratio +
                          "': a number from 0.01 to 1 is due, or nothing"));
  EXPECT_THAT(message(",1,,,,"), HasSubstr("clients.csv:3: source ''"));
  EXPECT_THAT(message("b@,,4 x,10,vllm,"),
              HasSubstr("clients.csv:3: places_of_runs 'x': a whole number from 1"));
  EXPECT_THAT(message("b@,,8 4,10,vllm,"),
              HasSubstr("clients.csv:3: places_of_runs '8 4': each is to be more"));
  EXPECT_THAT(message("b@,,4 8,0,vllm,"), HasSubstr("clients.csv:3: prompts_a_place '0'"));
  EXPECT_THAT(message("b@,,4 8,1.5,vllm,"), HasSubstr("clients.csv:3: prompts_a_place '1.5'"));
  EXPECT_THAT(message("b@,,4 8,10,llama,"), HasSubstr("clients.csv:3: cached_by: "));
  for (const char* half : {"b@,,4 8,10,,", "b@,,4 8,,vllm,", "b@,,,10,,", "b@,,,,vllm,"})
    EXPECT_THAT(message(half), HasSubstr("clients.csv:3: places_of_runs, prompts_a_place and "
                                         "cached_by are to be said together"))
        << half;
}

TEST(LoadClientsTest, AMissingColumnIsNamed) {
  const auto clients = read("a@,1\n", "source,length_ratio\n");
  ASSERT_FALSE(clients);
  EXPECT_THAT(clients.error().message(), HasSubstr("clients.csv: no column 'places_of_runs'"));
}

}  // namespace
}  // namespace dsaperf::serving
