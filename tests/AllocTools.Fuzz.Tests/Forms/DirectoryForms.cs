using System.Text;
using System.Text.Json;
using AllocTools.Connections.Directories;
using AllocTools.Endpoints;

namespace AllocTools.Fuzz.Tests.Forms;

/// <summary>An entry of a directory as JSON: the body of a PUT, and the part after the digits of a value in Redis.</summary>
internal sealed class DirectoryRecordForm : ByteForm
{
    public const string Service = "orders";

    public override string Name => "directory-record";

    // A member with an exposure costs more than its bytes: a description, its text and what JSON keeps of both.
    public override long? MostAllocated(int length) => (32 << 10) + (32L * length);

    public static Gen<DirectoryRecord> Record { get; } = Gen.Select(
        Gen.Guid.Where(static g => g != Guid.Empty), Gen.Long[1, long.MaxValue], Values.EndPoint, Gen.Select(Gen.String[Gen.Char['a', 'z'], 1, 20], Values.Memory).Array[0, 3], static (process, revision, endPoint, memories) =>
            new DirectoryRecord(new RmaDirectoryEntry(Service, process, endPoint, memories.DistinctBy(static m => m.Item1).ToDictionary(static m => m.Item1, static m => m.Item2)), revision));

    public static IReadOnlyList<byte[]> Pieces { get; } =
    [
        .. Texts(
            Encoding.UTF8, "null", "{}", "[]", "{", "[", "}", "]", ",", ":", "\"", "1e999", "-1", "99999999999999999999", "\\u0000", "\\ud800", "\\", "true", "\"version\":2,", "\"name\":\"orders\",", "\"port\":0,", "\"host\":\"\",",
            "\"exposures\":{},", "\"x\":1,", "\ufeff", "\u202e", "//x\n", "[[[[[[[[[[", "\"left\":1,", "\"host\":\"0.0.0.0\",", "\"host\":\"[::]\",", "\"host\":\"1.2\","),
        [0xC0, 0x80],
        [0xFF],
    ];

    public override Gen<byte[]> Valid => Record.Select(static r => r.Encode());

    public override IReadOnlyList<byte[]> Words => Pieces;

    public override int MostWords => 250;

    public override string? Read(ReadOnlyMemory<byte> input)
    {
        if (DirectoryRecord.TryRead(input, Service, out DirectoryRecord? record, out string? error))
        {
            Assert.True(DirectoryRecord.TryRead(record.Encode(), Service, out DirectoryRecord? again, out error), error);
            Assert.Equal(record.Encode(), again.Encode());
            Assert.Equal(record.Key, again.Key);
            return null;
        }
        return error;
    }
}

/// <summary>A peer's answer to a GET of its entries.</summary>
internal sealed class DirectoryAnswerForm : ByteForm
{
    private const int MostEntries = 8;

    public override string Name => "directory-answer";

    public override Gen<byte[]> Valid => Gen.Select(DirectoryRecordForm.Record, Gen.Int[0, int.MaxValue]).Array[0, MostEntries / 2].Select(static entries =>
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
            DirectoryWire.WriteEntries(json, entries.Select(static e => (e.Item1.Encode(), TimeSpan.FromMilliseconds(e.Item2))));
        return stream.ToArray();
    });

    public override IReadOnlyList<byte[]> Words => DirectoryRecordForm.Pieces;

    public override int MostWords => 250;

    public override int MostLength => 32 << 10;

    public override string? Read(ReadOnlyMemory<byte> input)
    {
        if (DirectoryWire.TryReadEntries(input, DirectoryRecordForm.Service, MostEntries, out DirectoryAnswer? answer, out string? error))
        {
            Assert.InRange(answer.Records.Count + answer.Mistakes!.Count, 0, MostEntries);
            Assert.All(answer.Records, static r => Assert.Equal(DirectoryRecordForm.Service, r.Entry.Name));
            return null;
        }
        return error;
    }
}
