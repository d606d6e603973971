// What of native/fuse works without a mount: packing directories, finding mounts, the request
// table's slots and generations. Real mounts are tested from TypeScript (test/unit/native).
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <string>
#include <vector>

#include "native/fuse/directory.h"
#include "native/fuse/file_lock.h"
#include "native/fuse/mount_table.h"
#include "native/fuse/request_table.h"

namespace sealfs::fuse {
namespace {

struct Parsed {
  uint64_t inode;
  uint64_t next;
  uint32_t type;
  std::string name;
  uint64_t node = 0;  // with plus
};

// Reads the kernel's format back (linux/fuse.h).
std::vector<Parsed> parse(const char* data, size_t bytes, bool plus) {
  std::vector<Parsed> out;
  size_t at = 0;
  while (at < bytes) {
    Parsed parsed{};
    if (plus) {
      fuse_entry_out entry;
      memcpy(&entry, data + at, sizeof entry);
      parsed.node = entry.nodeid;
      at += sizeof entry;
    }
    fuse_dirent dirent;
    memcpy(&dirent, data + at, FUSE_NAME_OFFSET);
    parsed.inode = dirent.ino;
    parsed.next = dirent.off;
    parsed.type = dirent.type;
    parsed.name.assign(data + at + FUSE_NAME_OFFSET, dirent.namelen);
    at += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + dirent.namelen);
    out.push_back(parsed);
  }
  EXPECT_EQ(at, bytes);
  return out;
}

std::vector<uint8_t> record(uint64_t inode, uint64_t cookie, const std::string& name,
                            bool attributes, uint32_t mode = S_IFREG) {
  std::vector<uint8_t> out(sizeof(wire::DirEntry));
  const wire::DirEntry entry = {inode, cookie, static_cast<uint16_t>(name.size()), attributes,
                                mode};
  memcpy(out.data(), &entry, sizeof entry);
  if (attributes) {
    wire::Attributes all = {};
    all.inode = inode;
    all.mode = mode | 0644;
    const auto* bytes = reinterpret_cast<const uint8_t*>(&all);
    out.insert(out.end(), bytes, bytes + sizeof all);
  }
  out.insert(out.end(), name.begin(), name.end());
  out.resize((out.size() + 7) & ~size_t{7});
  return out;
}

void append(std::vector<uint8_t>* to, const std::vector<uint8_t>& more) {
  to->insert(to->end(), more.begin(), more.end());
}

TEST(PackDirectory, AddsDotsAndShiftsCookies) {
  std::vector<uint8_t> records;
  append(&records, record(70, 5, "eightchr", false, S_IFDIR));  // no zero behind such a name
  append(&records, record(71, 9, std::string(255, 'x'), false));
  char out[4096];
  Listing listing;
  listing.dots = 2;
  listing.inode = 7;
  listing.parent = 3;
  const ptrdiff_t bytes = pack_directory(listing, records.data(), records.size(), out, sizeof out);
  ASSERT_GT(bytes, 0);
  const auto parsed = parse(out, static_cast<size_t>(bytes), false);
  ASSERT_EQ(parsed.size(), 4u);
  EXPECT_EQ(parsed[0].name, ".");
  EXPECT_EQ(parsed[0].inode, 7u);
  EXPECT_EQ(parsed[0].next, 1u);
  EXPECT_EQ(parsed[1].name, "..");
  EXPECT_EQ(parsed[1].inode, 3u);
  EXPECT_EQ(parsed[1].next, 2u);
  EXPECT_EQ(parsed[2].name, "eightchr");
  EXPECT_EQ(parsed[2].next, 7u);
  EXPECT_EQ(parsed[2].type, static_cast<uint32_t>(S_IFDIR >> 12));
  EXPECT_EQ(parsed[3].name, std::string(255, 'x'));
}

TEST(PackDirectory, PlusCountsLookupsOnlyWithAttributes) {
  std::vector<uint8_t> records;
  append(&records, record(70, 1, "with", true));
  append(&records, record(71, 2, "without", false));
  append(&records, record(9, 3, "root", true, S_IFDIR));
  char out[4096];
  Listing listing;
  listing.plus = true;
  listing.root = 9;
  const ptrdiff_t bytes = pack_directory(listing, records.data(), records.size(), out, sizeof out);
  ASSERT_GT(bytes, 0);
  const auto parsed = parse(out, static_cast<size_t>(bytes), true);
  ASSERT_EQ(parsed.size(), 3u);
  EXPECT_EQ(parsed[0].node, 70u);
  EXPECT_EQ(parsed[1].node, 0u);
  EXPECT_EQ(parsed[1].inode, 71u);
  EXPECT_EQ(parsed[2].node, static_cast<uint64_t>(FUSE_ROOT_ID));
}

TEST(PackDirectory, StopsAtARecordThatDoesNotFit) {
  std::vector<uint8_t> records;
  for (int i = 0; i < 100; i++) append(&records, record(100 + i, i + 1, "name", false));
  // 24 + 4 bytes, aligned: 32 each.
  for (const size_t room : {size_t{32}, size_t{63}, size_t{64}, size_t{96}}) {
    std::vector<char> out(room);
    const ptrdiff_t bytes =
        pack_directory(Listing{}, records.data(), records.size(), out.data(), room);
    EXPECT_EQ(bytes, static_cast<ptrdiff_t>(room / 32 * 32));
  }
}

TEST(PackDirectory, RefusesMalformedRecords) {
  char out[4096];
  const auto whole = record(70, 1, "name", true);
  for (size_t bytes = 1; bytes < whole.size(); bytes++) {
    // Copied, so that a sanitizer sees a read beyond the end.
    const std::vector<uint8_t> part(whole.begin(), whole.begin() + bytes);
    EXPECT_EQ(pack_directory(Listing{}, part.data(), part.size(), out, sizeof out), -1) << bytes;
  }
  auto nameless = record(70, 1, "", false);
  EXPECT_EQ(pack_directory(Listing{}, nameless.data(), nameless.size(), out, sizeof out), -1);
  auto too_long = record(70, 1, std::string(256, 'x'), false);
  EXPECT_EQ(pack_directory(Listing{}, too_long.data(), too_long.size(), out, sizeof out), -1);
}

TEST(MountTable, FindsTheTopmostMountOfAPath) {
  const std::string text =
      "22 27 0:20 / /proc rw - proc proc rw\n"
      "42 27 0:39 / /mnt/a\\040b rw,nosuid - fuse.sealfs x rw\n"
      "43 27 0:40 / /mnt/a rw - tmpfs tmpfs rw\n"
      "44 27 0:41 / /mnt/a rw - fuse.sealfs x rw";
  EXPECT_EQ(find_mount(text, "/mnt/a b"), "0:39");
  EXPECT_EQ(find_mount(text, "/mnt/a"), "0:41");
  EXPECT_EQ(find_mount(text, "/mnt"), "");
  EXPECT_EQ(find_mount("", "/mnt"), "");
  EXPECT_EQ(device_mounted_at("/nowhere at all"), "");
  EXPECT_NE(device_mounted_at("/proc"), "");
}

TEST(MountTable, KnowsWhatIsMountedOnADevice) {
  const std::string ours =
      "27 1 8:1 / / rw - ext4 x rw\n"
      "42 27 0:39 / /mnt rw,nosuid - fuse.sealfs x rw\n"
      "45 27 0:39 /d /elsewhere rw,nosuid - fuse.sealfs x rw\n"
      "46 27 0:40 / /other rw - fuse.sealfs y rw\n";
  EXPECT_FALSE(has_mounts_on(ours, "0:39"));
  EXPECT_TRUE(has_mounts_on(ours, "8:1"));
  EXPECT_TRUE(has_mounts_on(ours + "47 42 0:41 / /mnt/a rw - tmpfs t rw\n", "0:39"));
  EXPECT_TRUE(has_mounts_on(ours + "47 45 0:41 / /elsewhere/a rw - tmpfs t rw", "0:39"));
  EXPECT_FALSE(has_mounts_on(ours + "47 46 0:41 / /other/a rw - tmpfs t rw", "0:39"));
  EXPECT_FALSE(has_mounts_on(ours + "cut", "0:39"));
  EXPECT_FALSE(has_mounts_on("", "0:39"));
  EXPECT_TRUE(Submounts(device_mounted_at("/")).any());
  EXPECT_FALSE(Submounts("no device").any());
}

TEST(FileLock, TakesTheKernelsLastByteForOurs) {
  EXPECT_EQ(lock_offset(0), 0u);
  EXPECT_EQ(lock_offset(kLockOffsetMax - 1), kLockOffsetMax - 1);
  EXPECT_EQ(lock_offset(kLockOffsetMax + 1), kLockOffsetMax);
  EXPECT_EQ(lock_offset(kKernelLockOffsetMax), kLockOffsetMax);
  const fuse_lk_out out = to_kernel_lock({7, kLockOffsetMax, 1, 42});
  EXPECT_EQ(out.lk.start, 7u);
  EXPECT_EQ(out.lk.end, kKernelLockOffsetMax);
  EXPECT_EQ(out.lk.type, 1u);
  EXPECT_EQ(out.lk.pid, 42u);
  EXPECT_EQ(to_kernel_lock({7, 8, 1, 42}).lk.end, 8u);
}

class RequestTableTest : public testing::Test {
 protected:
  void SetUp() override {
    ArenaShape shape;
    shape.message_slots = 4;
    shape.bulk_slots = 3;
    std::string error;
    arena_ = Arena::create(shape, &error);
    ASSERT_NE(arena_, nullptr) << error;
    block_ = arena_->take_bulk();
    table_ = std::make_unique<RequestTable>(arena_, block_);
  }
  std::shared_ptr<Arena> arena_;
  uint32_t block_ = 0;
  std::unique_ptr<RequestTable> table_;
};

fuse_req* handle(uintptr_t number) { return reinterpret_cast<fuse_req*>(number); }

TEST_F(RequestTableTest, TellsGenerationsApart) {
  const uint32_t index = table_->open(handle(8));
  const uint32_t generation = table_->record(index)->generation;
  fuse_req* found = nullptr;
  ASSERT_TRUE(table_->find(index, generation, &found));
  EXPECT_EQ(found, handle(8));
  table_->close(index);
  EXPECT_FALSE(table_->find(index, generation, &found));
  EXPECT_EQ(table_->open(handle(16)), index);
  EXPECT_FALSE(table_->find(index, generation, &found));
  EXPECT_FALSE(table_->find(RequestTable::kCapacity, 1, &found));
}

TEST_F(RequestTableTest, FillsUpAndEmpties) {
  std::vector<uint32_t> indexes;
  while (!table_->full()) indexes.push_back(table_->open(handle(8)));
  EXPECT_EQ(indexes.size(), RequestTable::kCapacity);
  for (const uint32_t index : indexes) table_->close(index);
  EXPECT_EQ(table_->active(), 0u);
}

TEST_F(RequestTableTest, GivesBackWhatARecordHolds) {
  const uint32_t index = table_->open(handle(8));
  table_->record(index)->slot = arena_->take_message();
  EXPECT_EQ(arena_->free_messages(), 3u);
  table_->close(index);
  EXPECT_EQ(arena_->free_messages(), 4u);
  table_->open(handle(8));
  table_->record(index)->slot = arena_->take_bulk();
  table_->orphan_all([](fuse_req* request) { EXPECT_EQ(request, handle(8)); });
  EXPECT_EQ(arena_->free_bulk(), 1u) << "an orphan's slot stays its own";
  table_->close(index);
  EXPECT_EQ(arena_->free_bulk(), 2u);
}

TEST_F(RequestTableTest, KeepsNamesBehindTheRecordWhileThereIsRoom) {
  const uint32_t slot = arena_->take_bulk();
  const std::string name(200, 'n');
  memcpy(arena_->at(slot), name.data(), name.size());
  const std::string_view received(reinterpret_cast<char*>(arena_->at(slot)), name.size());
  RequestRecord* record = table_->record(table_->open(handle(8)));
  uint32_t used = 0;
  const uint32_t first = table_->keep_name(record, received, slot, &used);
  EXPECT_EQ(record->slot, 0u);
  EXPECT_EQ(memcmp(arena_->at(first), name.data(), name.size()), 0);
  EXPECT_EQ(arena_->at(first), reinterpret_cast<uint8_t*>(record + 1));
  EXPECT_EQ(table_->keep_name(record, received, slot, &used), slot);
  EXPECT_EQ(record->slot, slot);
}

}  // namespace
}  // namespace sealfs::fuse
