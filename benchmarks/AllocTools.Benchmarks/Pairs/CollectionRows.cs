using System.Buffers;
using System.Buffers.Binary;
using AllocTools.Collections;
using Microsoft.IO;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>Compares writers, streams, lists and arrays in registered memory with those in the runtime's memory.</summary>
internal static class CollectionRows
{
    private const int WriterLength = 64 << 10;
    private const int Piece = 64;
    private const int StreamLength = 1 << 20;
    private const int StreamPiece = 4 << 10;
    private const int Elements = 10_000;
    private const int IndexedElements = 4096;

    public static IEnumerable<Comparison> All() =>
    [
        new($"a writer used again: {ByteSize.Text(WriterLength)} in pieces of {Piece} B", () => OwnWriter(), "ArrayBufferWriter", ArrayWriter),
        new($"a stream made each time: {ByteSize.Text(StreamLength)} in pieces of {ByteSize.Text(StreamPiece)}", OwnStream, "RecyclableMemoryStream", RecyclableStream),
        new($"a list made each time: {Elements:N0} longs added", OwnList, "List<long>", RuntimesList),
        new($"{IndexedElements} longs of an RmaArray by its indexer", () => OwnArray(bySpan: false), "the same by its span", () => OwnArray(bySpan: true)),
    ];

    private static Workload OwnWriter()
    {
        OwnPool own = new();
        RmaBufferWriter writer = new(own.Pool, WriterLength);
        return new Workload(
            operations =>
            {
                for (int i = 0; i < operations; i++)
                {
                    writer.Clear();
                    Fill(writer);
                }
            },
            () =>
            {
                writer.Dispose();
                own.Dispose();
            });
    }

    private static Workload ArrayWriter()
    {
        ArrayBufferWriter<byte> writer = new(WriterLength);
        return new Workload(operations =>
        {
            for (int i = 0; i < operations; i++)
            {
                writer.ResetWrittenCount();
                Fill(writer);
            }
        });
    }

    private static void Fill(IBufferWriter<byte> writer)
    {
        for (int written = 0; written < WriterLength; written += Piece)
        {
            BinaryPrimitives.WriteInt32LittleEndian(writer.GetSpan(Piece), written);
            writer.Advance(Piece);
        }
    }

    private static Workload OwnStream()
    {
        OwnPool own = new();
        return Streams(() => new RmaStream(own.Pool, 128 << 10), own.Dispose);
    }

    private static Workload RecyclableStream()
    {
        // The blocks have 128 KiB, which is the default.
        RecyclableMemoryStreamManager manager = new();
        return Streams(() => manager.GetStream(), null);
    }

    private static Workload Streams(Func<Stream> make, Action? dispose)
    {
        byte[] piece = new byte[StreamPiece];
        return new Workload(
            operations =>
            {
                for (int i = 0; i < operations; i++)
                {
                    using Stream stream = make();
                    for (int written = 0; written < StreamLength; written += StreamPiece)
                        stream.Write(piece);
                }
            },
            dispose);
    }

    private static Workload OwnList()
    {
        OwnPool own = new();
        return new Workload(
            operations =>
            {
                for (int i = 0; i < operations; i++)
                {
                    using RmaList<long> list = new(own.Pool);
                    for (int n = 0; n < Elements; n++)
                        list.Add(n);
                }
            },
            own.Dispose);
    }

    private static Workload RuntimesList() => new(operations =>
    {
        for (int i = 0; i < operations; i++)
        {
            List<long> list = [];
            for (int n = 0; n < Elements; n++)
                list.Add(n);
        }
    });

    private static Workload OwnArray(bool bySpan)
    {
        OwnPool own = new();
        RmaArray<long> array = own.Pool.RentArray<long>(IndexedElements);
        return new Workload(
            operations =>
            {
                for (int i = 0; i < operations; i++)
                {
                    if (bySpan)
                        AddOne(array.Span);
                    else
                        AddOne(array);
                }
            },
            () =>
            {
                array.Dispose();
                own.Dispose();
            });
    }

    private static void AddOne(Span<long> values)
    {
        for (int i = 0; i < values.Length; i++)
            values[i]++;
    }

    private static void AddOne(RmaArray<long> values)
    {
        for (int i = 0; i < values.Length; i++)
            values[i]++;
    }
}
