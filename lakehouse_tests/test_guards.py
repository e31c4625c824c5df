"""Every guard is real: with it taken out of a copy of the package, the named test fails."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOP, RACES, HISTORY, GLANCE = (f"lake/test_{name}.py" for name in ("hop", "races", "history", "glance"))
RESTORE, TIMELINES = "test_restore.py", "layers/test_timelines.py"
LIVES, REMOVALS, TRANSIENT, EVOLUTION = (
    "test_lives.py",
    "test_removals.py",
    "test_transient.py",
    "test_schema_evolution.py",
)
TYPED = "landing/test_typed_files.py"
BAD, PIECES, LARGE = "landing/test_bad_input.py", "landing/test_pieces.py", "layers/test_large.py"
ONE, TWO = (
    "every_life_of_an_object_ends_as_its_last_state_says",
    "a_key_that_two_objects_carry_falls_back_to_the_other",
)


@dataclass(frozen=True)
class Mutation:
    """A guard's removal: texts of the source and what stands there instead, and the test that must notice."""

    name: str
    file: str
    swaps: tuple[tuple[str, str], ...]
    test: str

    @property
    def node(self) -> str:
        file, test = self.test.split("::")
        return f"lakehouse_tests/{file}::test_{test}"


def swap(name: str, file: str, old: str, new: str, test: str) -> Mutation:
    return Mutation(name, file, ((old, new),), test)


MUTATIONS = [
    swap(
        "of two ticks at once both ask for a run",
        "orchestration/sensor.py",
        "if name in asked and not",
        "if False and not",
        "orchestration/test_sensor.py::of_two_ticks_at_once_one_asks_for_the_run",
    ),
    swap(
        "a head that is told anew is taken for a new one",
        "layers/cleaned.py",
        'bool((told[CHANGE] == "insert").all()) and ',
        "",
        "test_erase.py::an_erased_row_leaves_cleaned_though_its_generation_stays",
    ),
    swap(
        "a plan begins in the types of old code",
        "layers/fanout.py",
        "follower.empty(dataset), [none], follower.partition_by(dataset)",
        "table.scan().head(0).collect(), [none]",
        "test_fanout.py::a_plan_taken_up_again_by_another_contract_is_begun_in_its_types",
    ),
    swap(
        "three objects are read alone at once",
        "layers/ingest.py",
        "1 if failures > 1 else max(1, raw_layer.BATCH >> 4 * failures)",
        "max(1, raw_layer.BATCH >> 4 * failures)",
        "test_poison.py::an_object_is_read_alone_however_many_are_taken_at_once",
    ),
    swap(
        "files that a writer still means to commit are deleted",
        "lake/oblivion.py",
        "    table.append(table.scan().head(0).collect(), marks={FORGOTTEN: table.mark(FORGOTTEN) or 0})\n",
        "",
        "lake/test_oblivion.py::who_has_written_files_for_too_long_is_refused_before_they_are_deleted",
    ),
    swap(
        "no look at the last head",
        "layers/generation.py",
        'return last["_state"] not in (*REMOVED, *PASSING) and is_of(found, last, reading)',
        "return False",
        f"{LIVES}::{ONE}[1-keep]",
    ),
    swap(
        "any head is taken for the same",
        "layers/generation.py",
        'return last["_state"] not in (*REMOVED, *PASSING) and is_of(found, last, reading)',
        'return last["_state"] not in (*REMOVED, *PASSING)',
        f"{LIVES}::{ONE}[1-keep]",
    ),
    swap(
        "old generations count",
        "layers/raw.py",
        'return rows.join(newest, on=["_object", "_generation"], how="semi")',
        "return rows",
        f"{LIVES}::{ONE}[1-keep]",
    ),
    Mutation(
        "no bound on a batch",
        "layers/ingest.py",
        (
            (".head(raw_layer.BATCH + 1)", ""),
            ("[*sizes][: raw_layer.BATCH]", "[*sizes]"),
            ("objects[: min(most, max(1, fitting))]", "objects"),
        ),
        "layers/test_lag.py::a_backlog_is_taken_a_batch_a_commit_from_the_first_on[True]",
    ),
    swap(
        "append on a handle of its own",
        "lake/table.py",
        "self.delta.create_write_transaction(",
        "DeltaTable(self.delta.table_uri).create_write_transaction(",
        f"{RACES}::whoever_commits_second_on_one_look_is_told[append-append]",
    ),
    swap(
        "merge on a handle of its own",
        "lake/table.py",
        "self.delta.merge(",
        "DeltaTable(self.delta.table_uri).merge(",
        f"{RACES}::whoever_commits_second_on_one_look_is_told[append-upsert]",
    ),
    swap(
        "commits that try again blindly",
        "lake/table.py",
        "max_commit_retries=0",
        "max_commit_retries=15",
        f"{RACES}::any_commit_after_the_look_is_a_conflict_whosever_cursor_it_carries[disk-append]",
    ),
    swap(
        "no cursor in the commit",
        "lake/table.py",
        "transactions = [t for c in cursors for t in c.transactions()]",
        "transactions: list[Transaction] = []",
        f"{HOP}::a_repeated_hop_commits_nothing",
    ),
    swap(
        "no empty append",
        "lake/table.py",
        "return replace(done, version=self.append(upserts.clear(), cursors, marks=marks))",
        "return done",
        f"{HOP}::a_change_that_changes_nothing_still_moves_the_cursor",
    ),
    swap(
        "a vacuumed feed raises",
        "lake/table.py",
        "if LOST.search(str(error)):",
        "if False:",
        f"{HISTORY}::a_source_that_lost_its_history_is_taken_by_the_difference[vacuum-False]",
    ),
    swap(
        "a feed is read across a change of types",
        "lake/table.py",
        "if since < (self.mark(BUILT) or 0):",
        "if False:",
        "test_retype.py::any_other_type_key_or_set_of_columns_ends_as_a_table_made_at_once[Fractional]",
    ),
    swap(
        "a new type is cast to the old",
        "lake/hop.py",
        "(not laid or target.unlike(desired.rows))",
        "not laid",
        "test_retype.py::a_wider_type_keeps_every_digit[disk]",
    ),
    swap(
        "other code is not noticed",
        "lake/hop.py",
        "or cursor.stamp != stamp(source.id, code)",
        "",
        f"{HOP}::other_code_compares_the_whole_target",
    ),
    swap(
        "another table's cursor is believed",
        "lake/hop.py",
        "stamp(source.id, code)",
        "stamp(code)",
        f"{HISTORY}::a_source_that_lost_its_history_is_taken_by_the_difference[begin_anew-True]",
    ),
    swap(
        "vanished keys stay",
        "lake/hop.py",
        'return rows, desired.scope.join(rows, on=list(key), how="anti", nulls_equal=True)',
        "return rows, desired.scope.clear()",
        f"{HOP}::a_hop_carries_inserts_updates_and_deletes",
    ),
    swap(
        "a lost race is not looked at again",
        "lake/race.py",
        "for lost in range(LOOKS - 1):",
        "for lost in range(0):",
        f"{RACES}::racing_hops_write_each_change_once[disk]",
    ),
    swap(
        "the group that a row left is forgotten",
        "lake/hop.py",
        "else self.changes\n        return rows.select(columns)",
        'else self.changes.filter(pl.col(CHANGE) != "update_preimage")\n        return rows.select(columns)',
        f"{LIVES}::{ONE}[1-keep]",
    ),
    swap(
        "a null is not among the keys of a scope",
        "lake/scope.py",
        "column.is_null() if values.null_count() else pl.lit(False)",
        "pl.lit(False)",
        "lake/test_scope.py::the_rows_of_some_keys_are_those_that_a_join_finds[integer]",
    ),
    swap(
        "the rounded statistics of decimals are believed",
        "lake/scope.py",
        "kind.is_integer() or kind.is_temporal()",
        "kind.is_numeric() or kind.is_temporal()",
        "lake/test_scope.py::the_rows_of_some_keys_are_those_that_a_join_finds[decimal]",
    ),
    swap(
        "every file is read for some keys",
        "lake/scope.py",
        "return rows.filter(near_all).join(",
        "return rows.join(",
        "lake/test_scope.py::files_that_hold_none_of_the_keys_are_not_read[integer]",
    ),
    swap(
        "a row that changed is added to the tally once more",
        "layers/tally.py",
        "if len(came) < len(news.changes):",
        "if False:",
        "layers/test_tally.py::a_row_that_changes_or_goes_has_its_group_counted_again",
    ),
    swap(
        "a table does not lag with its tally",
        "layers/serving.py",
        "return [first, (served, counted, serving.fingerprint)] if counted else [first]",
        "return [first]",
        "layers/test_tally.py::a_tally_lags_with_its_table_until_both_have_read",
    ),
    swap(
        "lag is not seen",
        "lake/hop.py",
        "return target is None or target.cursor(source.name) != cursor_at(source, code)",
        "return target is None",
        "layers/test_lag.py::each_hop_that_is_left_is_named_in_turn",
    ),
    swap(
        "no look at the other objects",
        "layers/cleaned.py",
        "others = (_spelled(part, target) for part in _elsewhere(dataset, taken, keys))",
        "others = ()",
        f"{LIVES}::{TWO}[1-retract]",
    ),
    swap(
        "no bound on a portion",
        "layers/portion.py",
        "or len(part) == raw_layer.BATCH",
        "",
        "layers/test_portion.py::a_first_load_is_taken_a_portion_a_commit",
    ),
    swap(
        "a half-taken table is believed",
        "lake/hop.py",
        "return unread(news.source, code) if news.whole else standing_at(target, news.source, code)",
        "return standing_at(target, news.source, code)",
        "layers/test_portion.py::a_walk_that_died_on_the_way_is_no_ground_for_other_code",
    ),
    swap(
        "a walk goes on where another has walked",
        "lake/hop.py",
        'after = stage.after if (looked.id, looked.version) == (stage.table, stage.target) else ""',
        "after = stage.after",
        "layers/test_portion.py::a_walk_of_other_code_in_between_leaves_none_of_its_rows",
    ),
    swap(
        "superseded rows stay",
        "layers/cleaned.py",
        "else ~taken.held()",
        "else pl.lit(True)",
        f"{LIVES}::{ONE}[1-keep]",
    ),
    swap(
        "a deletion retracts where it should not",
        "layers/raw.py",
        '"gone": dataset.on_delete',
        '"gone": "retract"',
        f"{LIVES}::a_key_falls_back_to_a_deleted_object_only_where_its_rows_are_kept[keep-left0]",
    ),
    swap(
        "why an object is gone is never told later",
        "layers/generation.py",
        'in REMOVED and (removal is None or removal.name == last["_reason"])',
        "in REMOVED",
        f"{REMOVALS}::one_life_ends_in_one_state_in_whatever_order_its_events_come[keep-retract]",
    ),
    swap(
        "the first word on a removal stands",
        "layers/raw.py",
        "return known.filter(~mended & ",
        "return known.filter(",
        f"{REMOVALS}::one_life_ends_in_one_state_in_whatever_order_its_events_come[retract-keep]",
    ),
    swap(
        "a rule that clears away what was deleted makes an expiry of it",
        "landing/removals.py",
        "events.filter(~removed | marks | plain)",
        "events",
        f"{REMOVALS}::why_an_object_is_gone_is_told_by_what_hid_it[bodies6-gone]",
    ),
    swap(
        "what was before an object was written explains why it is gone",
        "landing/removals.py",
        ".filter(mine).filter(later)",
        ".filter(mine)",
        f"{REMOVALS}::one_life_ends_in_one_state_in_whatever_order_its_events_come[retract-keep]",
    ),
    swap(
        "a table that is put back keeps its cursors",
        "lake/past.py",
        "return past.cursor(cursor.source) or nothing",
        "return cursor",
        f"{RESTORE}::a_table_that_is_put_back_catches_up_from_the_cursor_of_then[cleaned/flights]",
    ),
    swap(
        "a held table is written to",
        "lake/hop.py",
        " or target.held:",
        ":",
        f"{RESTORE}::a_table_held_and_put_back_to_replay_goes_on",
    ),
    swap(
        "a table is put back over what came in between",
        "lake/past.py",
        "return again(back)",
        "return back()",
        f"{RESTORE}::whoever_commits_while_a_table_is_put_back_makes_it_look_again",
    ),
    swap(
        "a feed is read across a table put back in other types",
        "lake/past.py",
        "now.delta.schema() != past.delta.schema() or ",
        "",
        f"{RESTORE}::a_table_put_back_over_a_change_of_types_is_read_by_the_difference",
    ),
    swap(
        "an overwritten record stands on",
        "layers/history.py",
        '_ended=pl.max_horizontal("_until", "_later")',
        "_ended=pl.lit(None, TIME)",
        f"{TIMELINES}::as_of_any_moment_history_is_what_cleaned_was[keep-250]",
    ),
    swap(
        "an overwritten record ends before what follows it begins",
        "layers/history.py",
        '_ended=pl.max_horizontal("_until", "_later")',
        '_ended="_until"',
        f"{TIMELINES}::an_overwritten_objects_records_are_history_too",
    ),
    swap(
        "the other objects' records are forgotten",
        "layers/history.py",
        "pl.concat([mine.select(none.columns), rest])",
        "mine.select(none.columns)",
        f"{TIMELINES}::as_of_any_moment_history_is_what_cleaned_was[keep-250]",
    ),
    swap(
        "who died on an object is forgotten",
        "layers/ingest.py",
        "if len(trials) >= TRIALS:",
        "if False:",
        "test_poison.py::an_object_that_kills_its_reader_is_refused_alone_and_its_dataset_moves_on",
    ),
    swap(
        "who failed on an object and lived is taken for dead",
        "layers/ingest.py",
        "        if pace.alone:\n            _spare(",
        "        if False:\n            _spare(",
        "test_poison.py::a_run_that_fails_and_lives_holds_nothing_against_the_object_it_read_alone[throttled]",
    ),
    swap(
        "an object that was withheld is never asked for again",
        "layers/ingest.py",
        "if not raw.mark(RECALL) and WITHHELD not in",
        "if True or WITHHELD not in",
        "test_poison.py::an_object_that_s3_withholds_holds_nothing_up_and_is_asked_for_again[AccessDenied-403]",
    ),
    swap(
        "a head that says nothing of content hides what stood",
        "layers/raw.py",
        'known = heads(raw).filter(mine & ~pl.col("_state").is_in(PASSING))\n    follows',
        "known = heads(raw)\n    follows",
        "test_poison.py::an_overwrite_that_s3_withholds_leaves_what_stood",
    ),
    swap(
        "code that raises on everything empties its table",
        "layers/cleaned.py",
        " and _filled(target):",
        " and False:",
        "test_poison.py::code_that_raises_on_everything_empties_nothing",
    ),
    swap(
        "records that nobody counts",
        "layers/cleaned.py",
        'origin.join(kept, on="_row", how="anti")',
        'origin.join(kept, on="_row", how="anti").clear()',
        "layers/test_balance.py::records_that_clean_drops_are_counted",
    ),
    swap(
        "what cleaned does not hold is taken for overtaken",
        "layers/balance.py",
        '_newer=(newest > pl.col("_at")).fill_null(False)',
        "_newer=pl.lit(True)",
        "layers/test_balance.py::a_row_taken_from_cleaned_is_noticed[None]",
    ),
    swap(
        "no time in the total order",
        "layers/cleaned.py",
        '[*dataset.order_by, "_modified", "_object", "_record"]',
        '[*dataset.order_by, "_object", "_record"]',
        f"{LIVES}::of_two_objects_the_one_written_later_wins_whatever_its_name_and_its_turn",
    ),
    swap(
        "no bound on what an object unpacks to",
        "landing/packing.py",
        "if size > self.left:",
        "if False:",
        "landing/test_archives.py::a_bomb_is_refused_before_it_is_unpacked",
    ),
    swap(
        "a damaged stream is taken for the end",
        "landing/packing.py",
        "lambda body: Streams(body, bz2.BZ2Decompressor)",
        "bz2.BZ2File",
        "landing/test_formats.py::a_later_packed_stream_that_is_damaged_or_cut_off_is_no_end[bz2]",
    ),
    swap(
        "a damaged header is taken for the end of a tar",
        "landing/packing.py",
        "if left < tarfile.BLOCKSIZE or any(part.count(0) < len(part) for part in rest):",
        "if False:",
        "landing/test_archives.py::a_tar_whose_later_members_cannot_be_told_is_refused[a header]",
    ),
    swap(
        "a document leaves the bucket that is nowhere else",
        "layers/retention.py",
        ", _referred(table, dataset)]",
        "]",
        "layers/test_retention.py::a_document_that_raw_keeps_by_reference_stays_in_the_bucket",
    ),
    swap(
        "members that left an archive stay",
        "layers/generation.py",
        "left = [k for k, was in known.members.items() if k not in there and not _is_empty(was)]",
        "left = list[str]()",
        "landing/test_archives.py::an_overwritten_archive_takes_back_the_members_that_it_no_longer_has[keep]",
    ),
    swap(
        "an archive's members are looked for in the bucket",
        "landing/reconcile.py",
        "_outside(table, held).iter_rows()",
        "held.iter_rows()",
        "landing/test_archives.py::the_members_of_an_archive_arrive_as_objects_of_their_own[flights/a.zip-zipped]",
    ),
    swap(
        "room for every column that a file brings",
        "layers/rescued.py",
        "return new[max(0, COLUMNS - sum(name.lower() not in OWN for name in there)) :] if new else []",
        "return []",
        f"{EVOLUTION}::ever_new_columns_stop_at_a_bound_and_no_value_is_lost[one by one-in order]",
    ),
    swap(
        "cells between others take nothing",
        "landing/workbook.py",
        "budget.spend(CELL * ",
        "budget.spend(0 * ",
        "landing/test_workbook.py::a_cell_far_from_all_others_is_refused_before_its_sheet_is_read",
    ),
    swap(
        "two sheets of a name are two objects of one key",
        "landing/workbook.py",
        "or len(names) > len(set(names))",
        "",
        "landing/test_workbook.py::sheets_that_share_a_name_or_their_cells_are_refused_whole",
    ),
    swap(
        "sheets that share their cells count once",
        "landing/workbook.py",
        "int(rows.estimated_size())",
        "0",
        "landing/test_workbook.py::sheets_that_share_a_name_or_their_cells_are_refused_whole",
    ),
    swap(
        "entities are passed over",
        "landing/markup.py",
        "if declared is None:",
        "if True:",
        "landing/test_markup.py::hostile_or_broken_xml_is_refused_with_a_plain_reason[<!DOCTYPE l SYSTEM "
        '"http://127.0.0.1:9/x"><l a="&b;"/>-entities]',
    ),
    swap(
        "what an Avro block has beyond its count is passed over",
        "landing/avro.py",
        "if block.bytes_.read(1):",
        "if False:",
        f"{TYPED}::an_avro_block_that_tells_of_more_or_fewer_records_than_it_has_is_refused[2]",
    ),
    swap(
        "an element that goes on in the next piece is taken for whole",
        "landing/records.py",
        "if end < len(text):",
        "if True:",
        f"{PIECES}::an_array_read_in_pieces_gives_what_it_gives_whole",
    ),
    swap(
        "a link in a tar is passed over",
        "landing/packing.py",
        "for one in archive if not one.isdir()]",
        "for one in archive if one.isfile()]",
        "landing/test_archives.py::a_link_in_an_archive_is_refused_with_what_it_names",
    ),
    swap(
        "a folder is a new column to every mode",
        "layers/cleaned.py",
        'further=dataset.schema_evolution == "add",',
        "further=True,",
        f"{EVOLUTION}::the_order_of_arrival_decides_nothing"
        "[partition columns: they are no new columns to the other modes]",
    ),
    swap(
        "what follows the end of an Arrow stream is passed over",
        "landing/columnar.py",
        "if source.tell() < source.size():",
        "if False:",
        f"{TYPED}::what_is_cut_or_not_what_it_says_is_refused[a.arrows--form7-ends 4 bytes before its object]",
    ),
    swap(
        "a lie about a length is taken for a lack of memory",
        "landing/columnar.py",
        "except pa.ArrowMemoryError as error:",
        "except KeyboardInterrupt as error:",
        f"{TYPED}::a_length_that_no_memory_holds_is_the_files_fault",
    ),
    swap(
        "rows of nothing count for nothing",
        "landing/columnar.py",
        "max(batch.nbytes, batch.num_rows * ROW)",
        "batch.nbytes",
        f"{TYPED}::rows_that_take_no_bytes_are_counted_all_the_same",
    ),
    swap(
        "a value is cut to the type of its column",
        "layers/rescued.py",
        "return there.set(~same, None)",
        "return there",
        f"{EVOLUTION}::each_documented_behaviour[rescued data: a type mismatch of a typed file is rescued and its "
        "row stays-at once]",
    ),
    swap(
        "columns of other files are forgotten",
        "layers/cleaned.py",
        "batch = batch if anew else _beside(batch, target)",
        "",
        f"{EVOLUTION}::an_older_record_that_comes_late_takes_no_further_column_from_the_newer",
    ),
    swap(
        "only the record that brings a column is refused for it",
        "layers/shape.py",
        "if key in brought:",
        "if row in ledger.unknown:",
        f"{EVOLUTION}::each_documented_behaviour[failOnNewColumns: an object is refused with all its records, "
        "and its neighbours are not-at once]",
    ),
    swap(
        "a file's column is taken for the group",
        "layers/serving.py",
        "serving.group in columns[u]",
        "serving.group is not None",
        f"{EVOLUTION}::a_column_of_a_files_own_is_no_group_of_a_serving_table",
    ),
    swap(
        "messages deleted before the inbox holds them",
        "landing/inbox.py",
        "    box.append(rows)\n    queue.delete(messages)",
        "    queue.delete(messages)\n    box.append(rows)",
        f"{TRANSIENT}::a_message_is_deleted_only_after_the_inbox_holds_it",
    ),
    swap(
        "any bucket's events are taken",
        "landing/inbox.py",
        "if event.bucket != bucket:",
        "if False:",
        "test_road.py::an_event_of_another_bucket_is_kept_and_starts_nothing",
    ),
    swap(
        "what was read otherwise is taken for read",
        "layers/generation.py",
        '"_reading": reading or None}',
        '"_reading": None}',
        "landing/test_documents.py::another_extractor_reads_again_what_was_read_and_then_nothing",
    ),
    swap(
        "an extractor's fault is its reader's",
        "landing/documents.py",
        "    except Exception as error:  # an extractor sees",
        "    except KeyboardInterrupt as error:  # an extractor sees",
        "landing/test_documents.py::a_broken_document_among_others_stops_nobody",
    ),
    swap(
        "tags that we may not see are a failure",
        "landing/objects.py",
        "if _code(error) in GONE | UNASKED:",
        "if _code(error) in GONE:",
        "landing/test_documents.py::metadata_and_tags_are_told_and_tags_that_we_may_not_see_are_no_failure",
    ),
    swap(
        "text of any length is kept",
        "landing/extractors.py",
        "TEXT = 1_000_000",
        "TEXT = 1_000_000_000",
        "landing/test_extractors.py::text_is_bounded_as_it_comes",
    ),
    swap(
        "any number of prefixes has a table",
        "landing/undeclared.py",
        "if name not in known and len(known) >= MOST:",
        "if False:",
        "test_undeclared.py::there_are_so_many_tables_and_no_more",
    ),
    swap(
        "prefixes that read alike share a table",
        "landing/undeclared.py",
        'return f"{plain}_{hashlib.sha256(prefix.encode()).hexdigest()[:8]}"',
        "return plain",
        "test_undeclared.py::every_prefix_has_a_name_of_its_own_that_sql_takes",
    ),
    swap(
        "a rerouting is done before its last part",
        "landing/inbox.py",
        "marks={ROUTES: routes} if len(part) == len(astray) else {}",
        "marks={ROUTES: routes}",
        "test_undeclared.py::a_rerouting_goes_on_where_one_before_it_left_off_or_died_and_doubles_nothing",
    ),
    swap(
        "a rerouting takes another bucket's objects",
        "landing/inbox.py",
        "events = box.scan().filter(ours & ~",
        "events = box.scan().filter(~",
        "test_undeclared.py::another_buckets_object_is_sent_nowhere",
    ),
    swap(
        "no sweep of prefixes without a dataset",
        "layers/lag.py",
        "if prefixes := undeclared.behind(lake, datasets):",
        "if prefixes := list[str]():",
        "test_undeclared.py::what_landed_and_was_not_yet_read_lags",
    ),
    swap(
        "a prefix that fails stops the others",
        "layers/undeclared.py",
        "        except Exception as error:\n            failed.append(error)",
        "        except KeyError as error:\n            failed.append(error)",
        "test_undeclared.py::one_prefix_that_fails_stops_no_other",
    ),
    swap(
        "a text that is no truth is null",
        "layers/shape.py",
        "lost = values.is_not_null() & held.is_null()",
        "lost = values.is_not_null() & values.is_null()",
        "layers/test_inferred.py::a_text_that_is_no_truth_is_quarantined_and_not_nulled",
    ),
    swap(
        "foreign messages are dropped",
        "landing/inbox.py",
        "if decoded.parked:",
        "if False:",
        "test_road.py::foreign_and_unrouted_messages_are_kept_in_the_inbox",
    ),
    swap(
        "a replay asks for ever",
        "layers/ingest.py",
        'if replayed.get(head["_object"]) == head["_generation"] else head',
        'if head["_object"] in replayed else head',
        "layers/test_refused.py::a_replay_that_is_read_again_reads_nothing_again[0]",
    ),
    swap(
        "a replayed message leaves before its events are in",
        "layers/refused.py",
        "    box.append(pl.concat([r for _, r in passed]))\n",
        "    _drop(lake, pl.concat([g.select('dataset', 'message_id', 'key').head(1) for g, _ in passed]))\n"
        "    inbox.open_inbox(lake).append(pl.concat([r for _, r in passed]))\n",
        "layers/test_refused.py::messages_that_die_on_their_way_in_are_only_repeated[Table-append]",
    ),
    swap(
        "only the first portion is asked for rules that fail",
        "layers/cleaned.py",
        "        if taken.last:\n            return\n        taken = portion",
        "        if not taken.past or taken.last:\n            return\n        taken = portion",
        "layers/test_severity.py::a_rule_that_fails_holds_the_table_and_names_its_rows[1]",
    ),
    swap(
        "every error says that an object is gone",
        "landing/objects.py",
        "if code in GONE:",
        "if code:",
        f"{TRANSIENT}::an_object_that_cannot_be_fetched_now_is_fetched_later[expired-get_object]",
    ),
    swap(
        "only missed creations are reconciled",
        "landing/reconcile.py",
        "for key, _ in listed ^ standing}",
        "for key, _ in listed - standing}",
        f"{LIVES}::what_a_tenth_of_lost_events_hid_is_found_by_reconcile[retract]",
    ),
    swap(
        "a stretch that was cut off counts as compared",
        "landing/reconcile.py",
        '        _leave(lake, scope, upto or "")\n',
        "",
        "landing/test_reconcile.py::a_call_that_was_cut_off_is_taken_up_where_it_stopped",
    ),
    swap(
        "the last stretch is not open to its end",
        "landing/reconcile.py",
        "_standing(lake, name, (after, upto))",
        "_standing(lake, name, (after, upto or after))",
        "landing/test_reconcile.py::what_no_event_told_is_found_in_any_stretch[2]",
    ),
    swap(
        "a redrive deletes before it sends",
        "landing/dead_letters.py",
        "        for message in messages:\n            queue.send(message.body)\n        dead.delete(messages)\n",
        "        dead.delete(messages)\n        for message in messages:\n            queue.send(message.body)\n",
        "landing/test_dead_letters.py::a_redrive_that_dies_on_its_way_repeats_and_changes_nothing[send]",
    ),
    swap(
        "what expired comes back",
        "layers/cleaned.py",
        'bad.join(expired, on=generation, how="anti")',
        "bad",
        "layers/test_retention.py::what_has_expired_does_not_come_back_when_the_table_is_taken_anew",
    ),
    swap(
        "a new contract's refusals of old files expire at once",
        "layers/retention.py",
        "if until < (target.mark(JUDGED) or 0):",
        "if False:",
        "layers/test_retention.py::what_was_just_refused_of_an_old_file_waits_its_time",
    ),
    swap(
        "an object goes by its key, whatever lies there now",
        "landing/objects.py",
        "reversed(there[there.index(version) :])",
        "reversed(there)",
        "layers/test_retention.py::an_upload_that_raw_has_not_read_stays",
    ),
    swap(
        "no condition on the version",
        "dynamodb/table.py",
        "attribute_not_exists(#v) OR #v < :v",
        "attribute_not_exists(#v) OR #v < :v OR #v >= :v",
        "dynamodb/test_table.py::an_older_version_never_wins",
    ),
    swap(
        "what is no number goes out as it is printed",
        "dynamodb/items.py",
        "reserved or unkeyed or reason or _too_large(text)",
        "reserved or unkeyed or _too_large(text)",
        "dynamodb/test_sync.py::a_row_that_no_longer_fits_takes_its_old_item_away",
    ),
    swap(
        "an item goes out whatever its size",
        "dynamodb/items.py",
        "reserved or unkeyed or reason or _too_large(text)",
        "reserved or unkeyed or reason",
        "dynamodb/test_items.py::an_item_is_measured_as_dynamodb_does_and_not_by_its_json",
    ),
    swap(
        "a refused put is taken for one that was written",
        "dynamodb/wire.py",
        "if answer.status_code != 200:",
        "if answer.status_code >= 500:",
        "dynamodb/test_table.py::an_older_version_never_wins",
    ),
    swap(
        "a throttled transaction is put one by one",
        "dynamodb/table.py",
        "_code(error) in THROTTLES or not CANCELLED.isdisjoint(_reasons(error))",
        "_code(error) in THROTTLES",
        "dynamodb/test_sync.py::a_throttled_transaction_is_sent_again_and_not_put_one_by_one",
    ),
    swap(
        "a refusal slows nobody down",
        "dynamodb/pace.py",
        "BACK_OFF = 0.9",
        "BACK_OFF = 9.0",
        "dynamodb/test_pace.py::writers_follow_what_a_table_grants_and_are_seldom_refused[4000-100]",
    ),
    swap(
        "the items' cursor moves before the writes",
        "dynamodb/sync.py",
        "    written = items.write(",
        "    items.advance(old, new)\n    written = items.write(",
        f"{TRANSIENT}::a_publish_cut_off_before_its_writes_is_made_good",
    ),
    Mutation(
        "the epoch is claimed after the first write",
        "dynamodb/sync.py",
        (
            (
                "        if items.advance(cursor, claim):\n            return source, claim, None",
                "        return source, claim, None",
            ),
            ("items.advance(old, new)", "items.advance(None if old.version == NOTHING else old, new)"),
        ),
        "test_road.py::two_writers_that_both_find_no_cursor_write_in_one_epoch",
    ),
    swap(
        "promotion believes the gate's run",
        "ml/registry.py",
        "if not chosen.passed:",
        "if False:",
        "ml/test_training.py::a_model_trained_on_poisoned_labels_is_refused_by_the_gate",
    ),
    swap(
        "the gate passes a feature that leaks",
        "ml/training.py",
        'for name in leaking["feature"]',
        'for name in leaking["feature"].clear()',
        "ml/test_training.py::a_version_whose_feature_knows_what_came_later_is_refused_whoever_asks",
    ),
    swap(
        "a refusal outlives what it was judged by",
        "model.py",
        "*learned, *judged)",
        "*learned)",
        "ml/test_training.py::a_version_refused_for_its_horizon_is_judged_anew_by_another",
    ),
    swap(
        "promotion forgets whom the verdict was against",
        "ml/registry.py",
        "if chosen.against != _last(known):",
        "if False:",
        "ml/test_training.py::a_verdict_against_a_former_champion_promotes_nobody",
    ),
    swap(
        "a second rollback comes to what was rolled back",
        "ml/registry.py",
        "*(standing[: standing.index(one)] if one in standing else standing)",
        "*standing",
        "ml/test_training.py::who_goes_back_twice_passes_over_what_was_rolled_back",
    ),
    swap(
        "promotion undoes a rollback",
        "ml/registry.py",
        'if chosen.id in known["id"]:',
        "if False:",
        "ml/test_training.py::a_rollback_is_one_append_and_is_not_undone_by_the_next_promotion",
    ),
    swap(
        "the items of predictions may lag",
        "ml/lag.py",
        "if model.publish:",
        "if False:",
        "ml/test_lag.py::a_death_after_scoring_leaves_neither_the_items_nor_the_weeks_behind",
    ),
    swap(
        "the weeks of predictions may lag",
        "ml/lag.py",
        "            found[weeks] = ",
        "            _ = ",
        "ml/test_lag.py::a_death_after_scoring_leaves_neither_the_items_nor_the_weeks_behind",
    ),
    swap(
        "a version answers what it has seen",
        "ml/scoring.py",
        "left.filter(pl.col(ASKED) > until), left.filter(pl.col(ASKED) <= until)",
        "left, left.clear()",
        "ml/test_scoring.py::what_is_scored_as_it_comes_in_any_order_is_what_is_scored_at_once",
    ),
    swap(
        "only the rows that a change names are answered again",
        "ml/scoring.py",
        "return pl.concat([reached, *found]).unique()",
        "return pl.concat([reached.clear(), *found]).unique()",
        "ml/test_scoring.py::what_is_scored_as_it_comes_in_any_order_is_what_is_scored_at_once",
    ),
    swap(
        "a failing week asks again and again",
        "ml/monitoring.py",
        "and found.last > latest.until",
        "",
        "ml/test_monitoring.py::a_failing_week_asks_for_training_once_and_the_next_failing_week_again",
    ),
    swap(
        "a version that passed is left there",
        "ml/monitoring.py",
        'if latest.passed and latest.id not in promotions["id"]:',
        "if False:",
        "ml/test_training.py::a_death_at_a_commit_is_made_good_by_a_repeat[models-True]",
    ),
    swap(
        "nobody answers for ever",
        "ml/monitoring.py",
        'if promotions["code"].last() != model.code and ',
        "if False and ",
        "ml/test_monitoring.py::where_no_version_has_passed_yet_a_week_more_of_truth_asks_again",
    ),
    swap(
        "retention forgets what a champion was made from",
        "lake/maintenance.py",
        "keep_versions=kept, post",
        "post",
        "ml/test_retention.py::the_versions_that_a_champion_pins_outlive_retention",
    ),
    swap(
        "every failure is told",
        "orchestration/alerts.py",
        "if not run.good and run.name not in failing:",
        "if not run.good:",
        "orchestration/test_alerts.py::only_what_changes_is_told[ends3-subjects3]",
    ),
    swap(
        "what a check found is told nobody",
        "orchestration/alerts.py",
        "yield from _checked(instance, run.run_id, at)",
        "pass",
        "orchestration/test_alerts.py::a_check_that_fails_in_a_run_that_goes_well_is_told_and_so_is_its_recovery",
    ),
    swap(
        "a row's item is asked of a DynamoDB that is away",
        "trace.py",
        "except (Throttled, BotoCoreError, ClientError) as error:",
        "except ClientError as error:",
        "test_trace.py::a_row_is_followed_though_dynamodb_cannot_be_reached",
    ),
    swap(
        "a column comes from nothing that was read beforehand",
        "layers/origins.py",
        "return before | read",
        "return {*read}",
        "layers/test_origins.py::a_column_comes_from_what_is_read_for_it[beforehand-pieces-found6]",
    ),
    swap(
        "a value can end the page's script",
        "dashboard/page.py",
        '.replace("<", "\\\\u003c")',
        "",
        "test_dashboard.py::a_dataset_adds_a_chart_in_its_own_file_and_no_value_ends_the_script",
    ),
    swap(
        "an event of another version is told of this one",
        "trace.py",
        'fits = (pl.col("version_id") == pl.col("_version")).fill_null(True)',
        "fits = pl.lit(True)",
        "test_trace.py::an_overwritten_objects_rows_lead_to_the_version_that_stands",
    ),
    swap(
        "a walk goes on in another table of that version",
        "lake/hop.py",
        "(looked.id, looked.version) == (stage.table, stage.target)",
        "looked.version == stage.target",
        "test_backfill.py::a_walk_whose_table_is_switched_under_way_begins_anew_on_the_other",
    ),
    swap(
        "a backfill that switches before it has caught up",
        "layers/backfill.py",
        "while following(anew, dataset, raw.open_raw(anew, dataset.name)):",
        "for _ in range(1):",
        "test_backfill.py::what_lands_meanwhile_is_read_where_it_stands_and_is_in_the_new_path_before_it_is[1]",
    ),
    swap(
        "nothing replaces something",
        "layers/backfill.py",
        "if before and before.count and not after.count:",
        "if False:",
        "test_backfill.py::a_clean_that_fails_does_not_replace_what_stands",
    ),
    swap(
        "what retention took comes back",
        "layers/backfill.py",
        "    if marks:",
        "    if False:",
        "test_backfill.py::refused_records_that_retention_took_do_not_come_back",
    ),
    swap(
        "what stands is written again",
        "lake/table.py",
        "AND ({other or 'false'})",
        "",
        f"{HOP}::only_rows_that_differ_are_in_the_targets_change_feed",
    ),
    swap(
        "a table lies on as it lay",
        "lake/hop.py",
        "laid = partition_by is None or target.partitions == [*partition_by]",
        "laid = True",
        "test_partitions.py::another_column_lays_the_table_anew_in_one_commit[shop-sku]",
    ),
    swap(
        "a feed is read across a table put back as it lay",
        "lake/past.py",
        " or now.partitions != past.partitions",
        "",
        "test_partitions.py::a_table_put_back_from_before_is_laid_as_declared_by_the_next_run[True]",
    ),
    swap(
        "any text names a partition",
        "layers/cleaned.py",
        "~text.str.contains(PLACE) | (text == NULL)",
        "text == NULL",
        "test_partitions.py::a_text_that_names_no_place_is_refused_and_any_other_is_one",
    ),
    swap(
        "portions count that were emptied away",
        "layers/fanout.py",
        "{self.dataset.fingerprint} {self.begun[layer]}",
        "{self.dataset.fingerprint}",
        "test_fanout.py::of_a_plan_taken_up_again_no_portion_counts_that_another_emptied",
    ),
    swap(
        "portions of two sizes are taken for the same",
        "layers/fanout.py",
        "{dataset.fingerprint} {raw_layer.BATCH} {BYTES}",
        "{dataset.fingerprint}",
        "test_fanout.py::portions_of_another_size_are_another_plan",
    ),
    swap(
        "a late worker writes on",
        "layers/fanout.py",
        "_begun(table) != self.begun[layer] or",
        "_begun(table) is None or",
        "test_fanout.py::a_worker_of_an_abandoned_plan_writes_nothing_into_another",
    ),
    swap(
        "workers go on beside a walk",
        "layers/portion.py",
        "if target.mark(SHARED) and",
        "if False and",
        "test_fanout.py::a_walk_that_comes_between_has_the_table_to_itself",
    ),
    swap(
        "raw is said to be in before its last portion",
        "layers/fanout.py",
        "        if plan.left(layer, count):\n            return\n",
        "",
        "test_fanout.py::raws_cursor_comes_only_with_the_last_portion",
    ),
    swap(
        "a walk leaves a backlog to others, too",
        "layers/portion.py",
        "if target.mark(SHARED) and",
        "if False and",
        "test_backlog.py::a_walk_that_dies_has_ended_the_plan",
    ),
    swap(
        "portions count that a restore took back",
        "lake/past.py",
        "        told[SHARED] = 0\n",
        "        pass\n",
        "test_backlog.py::what_a_restore_took_back_no_cursor_of_a_portion_hides[0]",
    ),
    swap(
        "a rule that fails the run is met on the way",
        "layers/fanout.py",
        "if dataset.fail or any",
        "if any",
        "test_backlog.py::nothing_moves_before_all_is_looked_at_where_a_rule_fails_the_run",
    ),
    swap(
        "other code shares what this code began",
        "layers/fanout.py",
        " or cursor.stamp != stamp(source.id, dataset.fingerprint)",
        "",
        "test_backlog.py::what_is_small_or_of_other_code_is_one_walks[4-changes1]",
    ),
    swap(
        "a table that is held is shared",
        "layers/fanout.py",
        "if dataset.fail or any(table.held for table in tables.values()):",
        "if dataset.fail:",
        "test_backlog.py::a_table_that_is_held_stays_as_it_is",
    ),
    swap(
        "a run that looked before an erasure may commit after it",
        "layers/erase.py",
        "    _fence(site)\n",
        "",
        "test_erase.py::a_run_that_looked_before_the_erasure_brings_nothing_back",
    ),
    swap(
        "others' records go with a file that cannot be rewritten",
        "layers/erase.py",
        "rest = replace(rest, body=EMPTY if kept else None, left=not kept)",
        "pass",
        "test_erase.py::nobody_elses_record_goes_with_a_file_whatever_its_format_and_what_a_deletion_does[retract]",
    ),
    swap(
        "a file is emptied before raw has read it",
        "layers/erase.py",
        "kept = _is_read(site, dataset, got[0], rest.lost)",
        "kept = True",
        "test_erase.py::a_file_of_others_that_raw_has_not_read_is_left_until_it_has[retract]",
    ),
    swap(
        "a file is emptied of which raw refused a part",
        "layers/erase.py",
        'return read and refused <= {f"{found.key}{INSIDE}{name}" for name in lost}',
        "return read",
        "test_erase.py::a_file_of_which_raw_refused_a_part_that_is_others_is_left",
    ),
    swap(
        "what a later member of its name supersedes keeps a subject",
        "landing/excision.py",
        "past += before.gone if isinstance(before, Rest) else 0",
        "past += 0",
        "landing/test_erased.py::a_member_that_a_later_one_of_its_name_supersedes_is_looked_into[zip]",
    ),
    swap(
        "an emptied file is read as the end of its records",
        "layers/generation.py",
        "    if found.emptied:\n        return True\n",
        "",
        "test_erase.py::a_run_amid_an_erasure_takes_an_emptied_file_for_no_news[retract]",
    ),
    swap(
        "what a library wrote anew is not read again",
        "landing/excision.py",
        "return left if records(left, reader, form, packing.Budget()).equals(told) else None",
        "return left",
        "landing/test_erased.py::what_cannot_be_rewritten_for_others_tells_how_many_records_are_theirs[shape]",
    ),
    swap(
        "a record that became no row is nobody's",
        "layers/subjects.py",
        'bad = raw.join(good.select(KEY), on=KEY, how="anti")',
        "bad = raw.clear()",
        "test_erase.py::a_record_that_clean_names_anew_and_that_became_no_row_is_erased_too[eve]",
    ),
    swap(
        "a column that some files have is every file's",
        "layers/subjects.py",
        "for c in rows.columns if not rows[c].has_nulls()}",
        "for c in rows.columns}",
        "test_erase.py::a_record_that_clean_names_anew_and_that_became_no_row_is_erased_too[eve]",
    ),
    swap(
        "nobody keeps an erased subject out",
        "layers/ingest.py",
        "kept_out(dataset, (part for parts in told for part in parts), erased(lake))",
        "(part for parts in told for part in parts)",
        "test_erase.py::a_subject_does_not_come_back",
    ),
    swap(
        "a rewritten object is a newer word",
        "landing/objects.py",
        'return datetime.fromisoformat(answer.get("Metadata", {})[MODIFIED])',
        'return answer["LastModified"]',
        "test_erase.py::a_rewritten_object_is_no_newer_than_it_was",
    ),
    swap(
        "history keeps what raw has no more",
        "layers/history.py",
        'known = known.join(rows.select(RECORD).collect(), on=RECORD, how="semi")',
        "",
        "test_erase.py::a_key_falls_back_to_whoever_else_carried_it",
    ),
    swap(
        "deleted rows of the inbox hide as many new ones",
        "landing/inbox.py",
        'for name in named["dataset"]]',
        'for name in named["dataset"].clear()]',
        "test_erase.py::what_an_erasure_rewrote_is_not_read_again_and_reconcile_has_nothing_to_say",
    ),
    swap(
        "an overtaken publish puts an erased subject back",
        "dynamodb/sync.py",
        "epoch=_later(cursor, items), whole_at=int(time.time())",
        "",
        "test_erase.py::a_publish_that_an_erasure_overtook_takes_back_what_it_put",
    ),
    swap(
        "the log is cut short beside writers",
        "lake/oblivion.py",
        "emptied = sum(_emptied(store, path) for path in sorted(old))",
        "emptied = len([_delete(store, path) for path in sorted(old)])",
        "lake/test_oblivion.py::a_writer_who_looked_before_is_refused_or_comes_behind_and_is_never_lost",
    ),
    swap(
        "files of a commit under way are deleted",
        "lake/oblivion.py",
        "one.path in known or one.path in doomed or time.time()",
        "True or time.time()",
        "lake/test_oblivion.py::a_file_that_a_writer_has_yet_to_commit_is_left_alone",
    ),
    swap(
        "what an erasure that was cut off had touched is forgotten",
        "layers/erase.py",
        "    listed.remember(site.lake, one, touched)\n",
        "",
        "test_erase.py::an_erasure_that_dies_before_the_past_is_forgotten_is_taken_up",
    ),
    swap(
        "paths in use are deleted",
        "lake/paths.py",
        "table.id not in pinned",
        "True",
        "test_backfill.py::what_was_replaced_goes_after_its_time_and_not_before[disk]",
    ),
    swap(
        "a short record filled with nulls is taken for whole",
        "landing/delimited.py",
        "if rows[:, -1].null_count():",
        "if False:",
        f"{BAD}::ragged_records_are_told_from_good_ones_whatever_their_number",
    ),
    swap(
        "quotes are left to the faster parser wherever they stand",
        "landing/delimited.py",
        "return len(quotes) % 2 == 0 and bool(well)",
        "return True",
        f"{PIECES}::a_quote_in_the_wrong_place_is_read_as_the_standard_reader_reads_it",
    ),
    swap(
        "half a surrogate pair is taken for text",
        "landing/records.py",
        'if b"\\\\" in records and',
        "if False and",
        f"{PIECES}::a_line_that_not_every_parser_reads_is_told_from_those_beside_it",
    ),
    swap(
        "JSON of any depth is taken for readable",
        "landing/records.py",
        "> lines and _deep(records)",
        "< 0",
        f"{PIECES}::a_line_that_not_every_parser_reads_is_told_from_those_beside_it",
    ),
    swap(
        "a record ends where a piece does",
        "landing/lined.py",
        "left = bounded(self.open(records, kind))",
        'left = b""',
        f"{PIECES}::a_file_read_in_pieces_gives_what_it_gives_whole",
    ),
    swap(
        "what failed on the way is held against the object",
        "landing/readers.py",
        "except (Unreadable, Interrupted, MemoryError):",
        "except (Unreadable, MemoryError):",
        f"{LARGE}::a_large_object_that_breaks_off_commits_nothing_and_comes_whole_with_the_next_run",
    ),
    swap(
        "the readable begin of an unreadable object stays",
        "layers/sheets.py",
        "            return refusal(head, error).head\n",
        "            self.join(own)\n            return refusal(head, error).head\n",
        f"{LARGE}::a_large_object_that_is_unreadable_at_its_end_brings_no_row",
    ),
    swap(
        "the first members of a refused archive stay",
        "layers/sheets.py",
        "if whole:",
        "if True:",
        "landing/test_archives.py::an_archive_that_is_refused_at_its_end_brings_no_row_and_takes_none_from_others",
    ),
    swap(
        "every piece is numbered from one",
        "layers/sheets.py",
        "own.add(head, records, count + 1)",
        "own.add(head, records, 1)",
        f"{LARGE}::a_large_object_is_one_generation_of_many_files_in_one_commit",
    ),
    swap(
        "a glance that believes what it saw",
        "lake/glance.py",
        "if known and known.stands:",
        "if known:",
        f"{GLANCE}::a_commit_is_seen_by_the_next_look[disk]",
    ),
    swap(
        "a glance that tells tables by their version",
        "lake/glance.py",
        "tip(self.table) == self.tip",
        "tip(self.table)[1] == NOTHING",
        f"{GLANCE}::a_table_made_again_up_to_the_same_version_is_another[disk]",
    ),
    swap(
        "a glance that has overlooked a commit",
        "lake/glance.py",
        "self.tip[1] == NOTHING and ",
        "",
        f"{GLANCE}::a_commit_between_the_opening_of_a_table_and_the_look_at_its_tip_is_seen_by_the_next_look",
    ),
    swap(
        "an engine is asked whatever the function says",
        "engines/portable.py",
        "            self._judge(one)\n        return super()._flatten",
        "            one\n        return super()._flatten",
        "engines/test_portable.py::what_engines_differ_on_is_refused_by_name[round]",
    ),
    swap(
        "kinds of values do not matter",
        "engines/portable.py",
        "        if one not in OPERANDS[name]:",
        "        if False:",
        "engines/test_portable.py::what_engines_differ_on_is_refused_by_name[min of float]",
    ),
    swap(
        "an engine reads the table as it is by then",
        "engines/spark.py",
        '.option("versionAsOf", table.version())',
        "",
        "engines/test_road.py::an_engine_reads_the_version_that_was_looked_at[sail]",
    ),
    swap(
        "an engine that died is the record's fault",
        "layers/cleaned.py",
        "MemoryError | NotPortable | EngineFailed",
        "MemoryError | NotPortable",
        "engines/test_road.py::an_engine_that_dies_holds_back_a_hop_and_refuses_no_record",
    ),
    swap(
        "a group without a name is nobody's",
        "engines/spark.py",
        "rows[column].eqNullSafe(keys[column])",
        "rows[column] == keys[column]",
        "engines/test_road.py::an_engine_computes_the_groups_that_are_asked_for[sail-100]",
    ),
    swap(
        "groups that nobody asked for are given back",
        "engines/__init__.py",
        "one.beyond and one.groups is not None:",
        "False:",
        "engines/test_road.py::an_engine_computes_the_groups_that_are_asked_for[sail-2]",
    ),
]


def copied(place: Path) -> Path:
    for name in ("lakehouse", "lakehouse_tests"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", place)
    return place


def mutate(place: Path, mutation: Mutation) -> None:
    file = place / "lakehouse" / mutation.file
    source = file.read_text()
    for old, new in mutation.swaps:
        assert old in source, f"{mutation.name}: {mutation.file} no longer says {old!r}; say how it is guarded now"
        source = source.replace(old, new)
    file.write_text(source)


def outcome(place: Path, nodes: Iterable[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-rf", "--tb=no", "-p", "no:cacheprovider", *nodes]
    environment = os.environ | {"PYTHONPATH": str(place), "COLUMNS": "400"}
    return subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, check=False, timeout=1200
    )


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_a_guard_taken_out_is_missed_by_its_test(tmp_path: Path, mutation: Mutation) -> None:
    place = copied(tmp_path)
    mutate(place, mutation)
    told = outcome(place, [mutation.node])
    (line,) = [one for one in told.stdout.splitlines() if one.startswith("FAILED")] or [told.stdout + told.stderr]
    assert line.startswith("FAILED"), line
    assert not any(fault in line for fault in ("NameError", "SyntaxError", "ImportError", "TypeError")), line


@pytest.mark.slow
def test_a_copy_with_every_guard_in_place_passes(tmp_path: Path) -> None:
    """One test of each file: that every one passes where nothing is taken out is what the suite itself shows."""
    told = outcome(copied(tmp_path), {m.node.split("::")[0]: m.node for m in MUTATIONS}.values())
    assert told.returncode == 0, told.stdout


def test_every_guard_is_still_where_its_mutation_looks_for_it() -> None:
    for mutation in MUTATIONS:
        source = (ROOT / "lakehouse" / mutation.file).read_text()
        assert [old for old, _ in mutation.swaps if old not in source] == [], mutation.name
