# Writes TO, which is LMDB's mdb.c in FROM with its free list's cursor tracked.
#
# mdb_freelist_save works through a cursor that is not among the transaction's cursors, so a split of
# the free list's root, which adds a level to the tree, leaves it a level short. When that split was made by
# an entry in the right half, but not at the end, the next entries go to a wrong leaf, and the next removal moves
# a branch's entry into a leaf: the tree is damaged, and the process ends by an assertion, soon or after the
# free pages have been given out twice. A free list is so long (some 5,000 records) after thousands of
# transactions under one read snapshot, which is how targets make checkpoints (docs/formats/metadata.md).
# mdb_put tracks its cursor for the same reason.
file(READ ${FROM} text)

function(mend old new)
  string(FIND "${text}" "${old}" first)
  string(FIND "${text}" "${old}" last REVERSE)
  if(first EQUAL -1 OR NOT first EQUAL last)
    message(FATAL_ERROR "this lmdb is another one: see whether native/lmdb is still needed (${old})")
  endif()
  string(REPLACE "${old}" "${new}" mended "${text}")
  set(text "${mended}" PARENT_SCOPE)
endfunction()

# In mdb_freelist_save, which has many ways out; untracked by its caller.
mend("mdb_cursor_init(&mc, txn, FREE_DBI, NULL);\n\n\tif (!env->me_pghead && txn->mt_loose_pgs) {"
     "mdb_cursor_init(&mc, txn, FREE_DBI, NULL);\n\tmc.mc_next = txn->mt_cursors[FREE_DBI];\n\ttxn->mt_cursors[FREE_DBI] = &mc;\n\n\tif (!env->me_pghead && txn->mt_loose_pgs) {")
mend("rc = mdb_freelist_save(txn);"
     "{ MDB_cursor *others = txn->mt_cursors[FREE_DBI]; rc = mdb_freelist_save(txn); txn->mt_cursors[FREE_DBI] = others; }")
file(WRITE ${TO} "${text}")
