#include "dsaperf/trace/importers/kernel_csv.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dsaperf::trace {
namespace {

using testing::HasSubstr;

Result<Timeline> read(std::string_view text) {
  return read_kernel_csv(CsvReader::over(text).value());
}

void expect_two_kernels(std::string_view text) {
  const auto timeline = read(text);
  ASSERT_TRUE(timeline) << timeline.error().message();
  const auto all = totals(*timeline);
  EXPECT_EQ(all.kernels, 6) << text;
  EXPECT_EQ(all.total_ns, 2e6) << text;
  EXPECT_EQ(all.unique_names, 2U) << text;
}

TEST(KernelCsvTest, ReadsEveryHeaderOfNsysSummaries) {
  expect_two_kernels(
      "Processing [x.sqlite] with [cuda_gpu_kern_sum.py]...\n\n"
      "Time (%),Total Time (ns),Instances,Avg (ns),Med (ns),Min (ns),Max (ns),StdDev (ns),Name\n"
      "60.0,1200000,2,600000.0,600000.0,500000,700000,141421.4,\"void a<int, 2>(int)\"\n"
      "40.0,800000,4,200000.0,200000.0,150000,250000,40824.8,b\n\n");
  expect_two_kernels(
      "Time(%),Total Time (ns),Instances,Average,Minimum,Maximum,Name\n"
      "60.0,1200000,2,600000.0,500000,700000,a\n40.0,800000,4,200000.0,150000,250000,b\n");
  expect_two_kernels(
      "Time (%),Total Time (ns),Instances,Avg (ns),Med (ns),Min (ns),Max (ns),StdDev "
      "(ns),GridXYZ,BlockXYZ,Name\n"
      "60.0,1200000,2,600000,600000,500000,700000,1, 896    1    1, 256    1    1,a\n"
      "40.0,800000,4,200000,200000,150000,250000,1, 132    1    1, 128    1    1,b\n");
  expect_two_kernels(
      "PID,TID,DevId,Count,QCount,TAvg (ns),AAvg (ns),QAvg (ns),KAvg (ns),API Name,Kernel Name\n"
      "1,1,0,2,2,900000,1,1,600000,cudaLaunchKernel,a\n"
      "1,1,0,4,4,900000,1,1,200000,cudaLaunchKernel,b\n");
}

TEST(KernelCsvTest, ReadsAnyUnitOfTime) {
  expect_two_kernels(
      "Time (%),Total Time (us),Instances,Avg (us),Min (us),Max (us),Name\n"
      "60.0,1200.0,2,600,500,700,a\n40,800.0,4,200,150,250,b\n");
  expect_two_kernels(
      "Time (%),Total Time (ms),Instances,Avg (ms),Min (ms),Max (ms),Name\n"
      "60.0,1.2,2,0.6,0.5,0.7,a\n40,0.8,4,0.2,0.15,0.25,b\n");
}

TEST(KernelCsvTest, UnitsMayStandInOtherBracketsOrBehindAnUnderscore) {
  expect_two_kernels(
      "Time [%],Total Time [us],# Calls,Avg [us],Min [us],Max [us],Kernel\n"
      "60.0,1200.0,2,600,500,700,a\n40,800.0,4,200,150,250,b\n");
  // The total counts, not the rounded average.
  expect_two_kernels("kernel,calls,total_us,avg_us\na,2,1200,599.9\nb,4,800,200.1\n");
}

TEST(KernelCsvTest, ReadsRocprofAndNvprof) {
  expect_two_kernels(
      "\"Name\",\"Calls\",\"TotalDurationNs\",\"AverageNs\",\"Percentage\"\n"
      "\"a.kd\",2,1200000,600000,60\n\"b.kd\",4,800000,200000,40\n");
  expect_two_kernels(
      "\"Type\",\"Time(%)\",\"Time\",\"Calls\",\"Avg\",\"Min\",\"Max\",\"Name\"\n"
      ",%,ms,,us,us,us,\n"
      "\"GPU activities\",60,1.2,2,600,500,700,\"a\"\n"
      "\"GPU activities\",40,0.8,4,200,150,250,\"b\"\n"
      "\"API calls\",90,99,1,1,1,1,\"cudaMalloc\"\n");
}

TEST(KernelCsvTest, ReadsRocprofTracesOfBothGenerations) {
  for (const char* text :
       {"\"Kind\",\"Agent_Id\",\"Queue_Id\",\"Stream_Id\",\"Kernel_Id\",\"Kernel_Name\","
        "\"Correlation_Id\",\"Start_Timestamp\",\"End_Timestamp\"\n"
        "\"KERNEL_DISPATCH\",\"Agent 2\",1,4,16,\"a\",1,1000,1040\n"
        "\"KERNEL_DISPATCH\",\"Agent 2\",1,4,16,\"b\",2,1060,1100\n",
        "\"Index\",\"KernelName\",\"gpu-id\",\"queue-id\",\"pid\",\"BeginNs\",\"EndNs\","
        "\"DurationNs\"\n"
        "0,\"a\",2,4,77,1000,1040,40\n1,\"b\",2,4,77,1060,1100,40\n"}) {
    const auto timeline = read(text);
    ASSERT_TRUE(timeline) << timeline.error().message();
    EXPECT_EQ(totals(*timeline).total_ns, 80) << text;
    EXPECT_EQ(totals(*timeline).span_ns, 100) << text;
    EXPECT_EQ(totals(*timeline).devices.at(2).kernels, 2) << text;
    EXPECT_EQ(timeline->launches[0].stream, 4) << text;
  }
}

TEST(KernelCsvTest, SummaryOfAllGpuWorkLeavesCopiesOut) {
  expect_two_kernels(
      "Time (%),Total Time (ns),Instances,Avg (ns),Category,Operation\n"
      "50,1200000,2,600000,CUDA_KERNEL,a\n40,800000,4,200000,CUDA_KERNEL,b\n"
      "10,5000,7,7,MEMORY_OPER,[CUDA memcpy Host-to-Device]\n");
}

TEST(KernelCsvTest, ReadsTheTimelineReport) {
  const auto timeline = read(
      "Start (ns),Duration (ns),CorrId,GrdX,Device,Ctx,Strm,Name\n"
      "1000,10,1,1,NVIDIA H200 (1),1,7,a\n1020,5,2,1,NVIDIA H200 (0),1,13,\"b<1, 2>\"\n"
      "1030,5,3,,NVIDIA H200 (1),1,7,[CUDA memcpy Device-to-Host]\n"
      "1040,5,3,,NVIDIA H200 (1),1,7,[CUDA memset]\n");
  ASSERT_TRUE(timeline);
  const auto all = totals(*timeline);
  EXPECT_EQ(all.kernels, 2);
  EXPECT_EQ(all.span_ns, 25);
  EXPECT_EQ(all.devices.at(0).total_ns, 5);
  EXPECT_EQ(all.devices.at(1).total_ns, 10);
  EXPECT_EQ(timeline->copies.size(), 1U);
  EXPECT_EQ(timeline->fills.size(), 1U);
  EXPECT_EQ(timeline->launches[1].stream, 13);
  EXPECT_EQ(timeline->devices[0], "NVIDIA H200");
}

TEST(KernelCsvTest, ReadsTheTraceOfLaunchesAndTheirCalls) {
  const auto timeline = read(
      "API Start (ns),API Dur (ns),Queue Start (ns),Queue Dur (ns),Kernel Start (ns),Kernel Dur "
      "(ns),Total Dur (ns),PID,TID,DevId,API Function,GridXYZ,BlockXYZ,Kernel Name\n"
      "100,5,105,20,125,40,65,9,9,3,cudaLaunchKernel,   1    1    1,  32    1    1,a\n"
      "200,5,205,20,225,60,85,9,9,3,cudaLaunchKernel,   1    1    1,  32    1    1,b\n");
  ASSERT_TRUE(timeline) << timeline.error().message();
  const auto all = totals(*timeline);
  EXPECT_EQ(all.total_ns, 100);
  EXPECT_EQ(all.span_ns, 160);
  EXPECT_EQ(all.devices.at(3).kernels, 2);
}

// Fields of Ascend's files end in a tab, so that spreadsheets leave long numbers alone.
TEST(KernelCsvTest, ReadsTheProfilerOfAscend) {
  expect_two_kernels(
      "Device_id,OP Type,Core Type,Count,Total Time(us),Min Time(us),Avg Time(us),Max "
      "Time(us),Ratio(%)\n"
      "0,a,AI_CORE,2,1200\t,500,600,700,60\n0,b,AI_CORE,4,800\t,150,200,250,40\n");
  const auto timeline = read(
      "Device_id,Model ID,Task ID,Stream ID,Op Name,OP Type,Task Type,Task Start Time(us),Task "
      "Duration(us),Task Wait Time(us)\n"
      "3,1,1,7,SparseFlashAttention_1,SparseFlashAttention,AI_CORE,1790000000000.500\t,20.5,1\n"
      "3,1,2,7,LightningIndexer_1,LightningIndexer,AI_CORE,1790000000100.500\t,4.5,1\n");
  ASSERT_TRUE(timeline) << timeline.error().message();
  const auto all = totals(*timeline);
  EXPECT_EQ(all.total_ns, 25000);
  EXPECT_EQ(all.span_ns, 104500);
  EXPECT_EQ(all.devices.at(3).kernels, 2);
}

TEST(KernelCsvTest, MicrosecondsMayBeWrittenWithAGreekLetter) {
  for (const char* micro : {"\xC2\xB5s", "\xCE\xBCs", "us", "usec", "usecond"}) {
    expect_two_kernels(std::string("Total Time (") + micro +
                       "),Instances,Min (ns),Max (ns),Name\n1200.0,2,5,7,a\n800.0,4,5,7,b\n");
  }
}

TEST(KernelCsvTest, NcuNumbersTheLaunchesOfEachProcess) {
  const auto timeline = read(
      "\"ID\",\"Process ID\",\"Kernel Name\",\"Metric Name\",\"Metric Unit\",\"Metric Value\"\n"
      "\"0\",\"11\",\"f\",\"gpu__time_duration.sum\",\"nsecond\",\"1,250\"\n"
      "\"0\",\"12\",\"f\",\"gpu__time_duration.sum\",\"usecond\",\"2\"\n");
  ASSERT_TRUE(timeline) << timeline.error().message();
  EXPECT_EQ(totals(*timeline).kernels, 2);
  EXPECT_EQ(totals(*timeline).total_ns, 3250);
}

TEST(KernelCsvTest, NcuMayPrintNamesOverSeveralLinesAndWhatTheProgramSaid) {
  const auto timeline = read(
      "==PROF== Connected to process 7 (/usr/bin/python3)\n"
      "step 1, loss 0.5, it's fine\n==PROF== Profiling \"f\": 0%....50%....100% - 8 passes\n"
      "\"ID\",\"Kernel Name\",\"gpu__time_duration.avg\"\n\"\",\"\",\"msecond\"\n"
      "\"0\",\"void f<int,\n  float>(int)\",\"0.5\"\n");
  ASSERT_TRUE(timeline) << timeline.error().message();
  EXPECT_EQ(totals(*timeline).total_ns, 500000);
}

TEST(KernelCsvTest, ATableEndsWhereAnotherBegins) {
  const auto timeline = read(
      "Time (%),Total Time (ns),Instances,Min (ns),Max (ns),Name\n100,7,1,7,7,a\n\n"
      "Processing [x.sqlite] with [cuda_api_sum.py]...\n"
      "Time (%),Total Time (ns),Num Calls,Name\n100,999,1,cudaLaunchKernel\n");
  ASSERT_TRUE(timeline);
  EXPECT_EQ(totals(*timeline).total_ns, 7);
}

TEST(KernelCsvTest, ReadsNcuDetailsOfSeveralLaunches) {
  const auto timeline = read(
      "==PROF== Connected to process 1\n"
      "ID,Kernel Name,Context,Stream,Block Size,Grid Size,Device,CC,Section Name,Metric "
      "Name,Metric "
      "Unit,Metric Value,Rule Name\n"
      "0,\"f<1>(int)\",1,7,\"(32, 4, 1)\",\"(2, 1, "
      "1)\",0,9.0,s,gpu__time_duration.sum,us,\"1,006.75\"\n"
      "0,\"f<1>(int)\",1,7,\"(32, 4, 1)\",\"(2, 1, 1)\",0,9.0,,,,,a rule\n"
      "1,\"f<1>(int)\",1,7,\"(32, 4, 1)\",\"(2, 1, 1)\",0,9.0,s,Duration,ns,250\n");
  ASSERT_TRUE(timeline) << timeline.error().message();
  EXPECT_EQ(timeline->format, Format::kNcuCsv);
  EXPECT_EQ(totals(*timeline).total_ns, 1007000);
  EXPECT_EQ(timeline->source.metrics.at("gpu__time_duration.sum [us]"), "1,006.75");
  EXPECT_EQ(timeline->source.block, "(32, 4, 1)");
  EXPECT_THAT(timeline->source.field_counts, testing::ElementsAre(12, 13));
}

TEST(KernelCsvTest, ReadsNcuRawWithUnitsInTheSecondRow) {
  const auto timeline = read(
      "\"ID\",\"Kernel Name\",\"Grid Size\",\"gpu__time_duration.sum\",\"sm__throughput.avg\"\n"
      "\"\",\"\",\"\",\"us\",\"%\"\n\"0\",\"f\",\"(1, 1, 1)\",\"2.5\",\"9\"\n");
  ASSERT_TRUE(timeline) << timeline.error().message();
  EXPECT_EQ(totals(*timeline).total_ns, 2500);
  EXPECT_EQ(timeline->source.metrics.at("sm__throughput.avg [%]"), "9");
}

TEST(KernelCsvTest, BadRowsAreCountedAndNamed) {
  const auto timeline = read(
      "Time (%),Total Time (ns),Instances,Min (ns),Max "
      "(ns),Name\n100,7,1,7,7,a\n1,x,1,1,1,b\n1,2\n");
  ASSERT_TRUE(timeline);
  EXPECT_EQ(timeline->bad_events, 2);
  EXPECT_THAT(timeline->warnings.back(), HasSubstr("line 3"));
}

TEST(KernelCsvTest, SaysWhatIsMissing) {
  const auto message = [](std::string_view text) { return read(text).error().message(); };
  EXPECT_THAT(message("Processing [x]...\nSKIPPED: x does not contain CUDA kernel data.\n"),
              HasSubstr("no kernel data"));
  EXPECT_THAT(message("Generating SQLite file\n"), HasSubstr("no header"));
  EXPECT_THAT(message("Time (%),Total Time (ns),Num Calls,Name\n1,2,3,cudaFree\n"),
              HasSubstr("no header of a kernel table"));
  EXPECT_THAT(message("Time (%),Total Time (ns),Instances,Name\n"), HasSubstr("no kernel"));
  EXPECT_THAT(message("Time (%),Total Time (ns),Instances,Name\n1,2,3,a\n1,2,3,\"cut"),
              HasSubstr("line 3: a quoted field is not closed"));
}

}  // namespace
}  // namespace dsaperf::trace
