using System.Runtime.CompilerServices;
using AllocTools.Cells;
using AllocTools.Endpoints;
using Xunit;

namespace AllocTools.Testing.Conformance;

/// <summary>Cells that peers read; on each transport.</summary>
public abstract class CellConformance<TTransport> : EndpointConformance<TTransport>
    where TTransport : IConformingTransport
{
    private const int Length = 60;

    /// <summary>
    /// 480 bytes in which every later 8 bytes follow from the first 8, so that a mix of two values is detected.
    /// </summary>
    [InlineArray(Length)]
    private struct Numbers
    {
        private long _first;

        public static Numbers Of(long number)
        {
            Numbers made = default;
            for (int i = 0; i < Length; i++)
                made[i] = number * (i + 1);
            return made;
        }

        public readonly void AssertWhole(long number)
        {
            for (int i = 0; i < Length; i++)
                Assert.Equal(number * (i + 1), this[i]);
        }
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task ReadsOfACellWhoseWriterNeverRestsAreEachOfOneWrite(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        using RmaBuffer buffer = pair.Right.Pool.Rent(64 + RmaCell.SizeOf<Numbers>());
        buffer.Span.Clear();
        RmaCell<Numbers> cell = new(buffer.Slice(64), Numbers.Of(1));
        using RmaExposure exposure = cell.Expose();
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        RmaCellReader<Numbers> reader = new(pair.Left.Endpoint, pair.Left.Pool, remote);
        bool isStopped = false;
        Thread writer = new(() =>
        {
            for (long number = 2; !Volatile.Read(ref isStopped); number++)
                cell.Write(Numbers.Of(number));
        });
        writer.Start();
        try
        {
            long last = 0;
            for (int i = 0; i < 50; i++)
            {
                RmaCellValue<Numbers> read = await reader.ReadAsync(TestTime.Seconds(60), Token);
                // The first write is number 1.
                read.Value.AssertWhole(read.Version);
                Assert.InRange(read.Version, Math.Max(1, last), long.MaxValue);
                last = read.Version;
            }
        }
        finally
        {
            Volatile.Write(ref isStopped, true);
            writer.Join();
        }
        RmaCellValue<Numbers> end = await reader.ReadAsync(TestTime.Seconds(60), Token);
        Assert.Equal(cell.Version, end.Version);
        end.Value.AssertWhole(cell.Value[0]);
        pair.Left.AssertAllComeBack();
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AWriterThatDiedInTheMiddleOfAWriteIsReportedAfterTheTime(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        using RmaBuffer buffer = pair.Right.Pool.Rent(RmaCell.SizeOf<Numbers>());
        buffer.Span.Clear();
        RmaCell<Numbers> cell = new(buffer, Numbers.Of(1));
        using RmaExposure exposure = cell.Expose();
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        RmaCellReader<Numbers> reader = new(pair.Left.Endpoint, pair.Left.Pool, remote);
        (await reader.ReadAsync(TestTime.Seconds(60), Token)).Value.AssertWhole(1);
        // A timeout of zero still allows a single read.
        (await reader.ReadAsync(TimeSpan.Zero, Token)).Value.AssertWhole(1);

        // The start of a write, and half of the rest of it.
        buffer.Span[8] = 3;
        buffer.GetSpan(24, 200).Fill(9);
        RmaCellException dead = await Assert.ThrowsAsync<RmaCellException>(() => reader.ReadAsync(TimeSpan.Zero, Token).AsTask());
        Assert.Contains("its sequence stayed 3, which means that a write is in progress: its writer ended, or was stopped, in the middle of a write.", dead.Message, StringComparison.Ordinal);
        Assert.True(dead.IsTransient);

        // The next writer continues after the unfinished write.
        RmaCell<Numbers> next = new(buffer, Numbers.Of(3));
        RmaCellValue<Numbers> read = await reader.ReadAsync(TestTime.Seconds(60), Token);
        Assert.Equal((next.Version, 3), (read.Version, read.Version));
        read.Value.AssertWhole(3);
        pair.Left.AssertAllComeBack();
    }
}
