using System.IO.Pipelines;
using AllocTools.Connections.Rings;
using AllocTools.Connections.Tests.Support;
using AllocTools.Endpoints;

namespace AllocTools.Connections.Tests;

/// <summary>Tests the ends of rings, step by step.</summary>
public sealed class RingTests
{
    [Fact]
    public void MemoryHasAtLeastWhatWasAskedFor()
    {
        var random = new Random(7);
        for (int round = 0; round < 200; round++)
        {
            using var rings = new BareRings(random.Next(896, 20_000) & ~15);
            for (int i = 0; i < 30; i++)
            {
                int hint = random.Next(0, 6000);
                Memory<byte> room = rings.Writer.GetMemory(hint);
                Assert.True(room.Length >= Math.Max(1, hint), $"{room.Length} bytes for {hint}.");
                rings.Writer.Advance(random.Next(0, room.Length));
            }
        }
    }

    [Fact]
    public async Task UnflushedBytesAreThoseSinceTheLastFlush()
    {
        using var rings = new BareRings(1024);
        int sum = 0;
        foreach (int length in new[] { 10, 200, 200, 3000, 1 })
        {
            rings.Writer.GetSpan(length)[..length].Clear();
            rings.Writer.Advance(length);
            Assert.Equal(sum += length, rings.Writer.UnflushedBytes);
        }
        await rings.Writer.FlushAsync(TestContext.Current.CancellationToken);
        Assert.Equal(0, rings.Writer.UnflushedBytes);
    }

    [Fact]
    public async Task NoRunIsFurtherAheadOfOneThatHasNotEndedThanTheReaderTakes()
    {
        using var rings = new BareRings(64 << 10);
        await rings.Writer.WriteAsync(new byte[1], TestContext.Current.CancellationToken);
        Assert.Single(rings.Running);
        // The first write takes long; others end before it.
        for (int i = 1; i < RingSender.MostInFlight; i++)
        {
            await rings.Writer.WriteAsync(new byte[1], TestContext.Current.CancellationToken);
            Assert.Equal(2, rings.Running.Count);
            rings.End(1);
        }
        await rings.Writer.WriteAsync(new byte[1], TestContext.Current.CancellationToken);
        Assert.Single(rings.Running);
        rings.End(0);
        Assert.Single(rings.Running);
    }

    [Fact]
    public void RunsThatAreAnnouncedInAnotherOrderAreReadInTheirs()
    {
        using var rings = new BareRings(8192);
        const int Runs = RingSender.MostInFlight;
        var random = new Random(3);
        // This continues up to the ring's end; the length of each run follows from its place.
        for (int first = 0; first * 32 < 8192; first += Runs)
        {
            int[] order = Enumerable.Range(0, Runs).ToArray();
            random.Shuffle(order);
            foreach (int run in order)
                rings.Arrive(first + run, (first + run) * 32, new FrameHeader(1 + run, FrameFlags.None, 32, 0));
            Assert.True(rings.Reader.TryRead(out ReadResult result));
            var lengths = new List<int>();
            foreach (ReadOnlyMemory<byte> segment in result.Buffer)
                lengths.Add(segment.Length);
            Assert.Equal(Enumerable.Range(0, Runs).Select(static r => 1 + r), lengths);
            rings.Reader.AdvanceTo(result.Buffer.End);
            // End the writes of credit.
            while (rings.Running.Count > 0)
                rings.End(0);
        }
    }

    [Theory]
    [InlineData(RmaIntegrity.Crc32C)]
    [InlineData(RmaIntegrity.XxHash3)]
    public async Task AFrameThatIsMissingOrRepeatedOrLeftOverIsDamage(RmaIntegrity integrity)
    {
        // Both frames are intact, and contain the same bytes.
        foreach (string what in new[] { "", "missing", "repeated", "left over" })
        {
            using var rings = new BareRings(4096, integrity);
            for (int i = 0; i < 2; i++)
                await rings.Writer.WriteAsync(new byte[16], TestContext.Current.CancellationToken);
            int length = rings.Form.FrameLength(16);
            string? mistake = what switch
            {
                "missing" => rings.Deliver(1, 0, 0),
                "repeated" => rings.Deliver(0, 0, 0) ?? rings.Deliver(0, 1, length),
                "left over" => rings.Deliver(0, 0, 0) ?? rings.Announce(1),
                _ => rings.Deliver(0, 0, 0) ?? rings.Deliver(1, 1, length),
            };
            Assert.Equal(mistake, rings.Reader.Damage?.Message);
            Assert.Equal(what == "", mistake is null);
            // Frames before the damage were intact.
            Assert.Equal(what is "missing" ? 0 : what == "" ? 32 : 16, rings.Reader.Position);
        }
    }

    [Fact]
    public async Task CreditThatWasTakenForAFrameThatIsDroppedGoesByItself()
    {
        using var rings = new BareRings(4096);
        rings.Arrive(0, 0, new FrameHeader(2000, FrameFlags.None, 2016, 0));
        // The credit goes with a frame that finds no place.
        rings.Admits = static () => false;
        Assert.True(rings.Reader.TryRead(out ReadResult result));
        rings.Reader.AdvanceTo(result.Buffer.End);
        await rings.Writer.WriteAsync(new byte[1], TestContext.Current.CancellationToken);
        Assert.Empty(rings.Running);
        rings.Admits = static () => true;
        // The peer stops reading.
        rings.Writer.Discard();
        Assert.Equal(RingBlock.CreditLength, Assert.Single(rings.Running).Operation.Local.Length);
        Assert.True(rings.Writer.IsQuiet);
    }

    [Fact]
    public async Task TheEndIsLookedForWhereAWriteIsDroppedThatFoundNoPlace()
    {
        using var rings = new BareRings(4096);
        rings.Admits = () =>
        {
            rings.Writer.Discard();
            return false;
        };
        int before = rings.Checks;
        await rings.Writer.WriteAsync(new byte[1], TestContext.Current.CancellationToken);
        Assert.True(rings.Writer.IsQuiet);
        Assert.True(rings.Checks > before);
    }

    /// <summary>Kestrel writes like this: it asks for memory once, and advances over it piece by piece.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(6000)]
    public async Task MemoryIsAdvancedOverInPieces(int hint)
    {
        using var rings = new BareRings(16 << 10);
        Memory<byte> room = rings.Writer.GetMemory(hint);
        byte[] sent = [.. Enumerable.Range(0, 700).Select(static i => (byte)i)];
        foreach (byte[] piece in sent.Chunk(100))
        {
            piece.CopyTo(room);
            rings.Writer.Advance(piece.Length);
            room = room[piece.Length..];
        }
        Assert.Throws<ArgumentOutOfRangeException>(() => rings.Writer.Advance(room.Length + 1));
        await rings.Writer.FlushAsync(TestContext.Current.CancellationToken);
        Assert.Equal(sent, rings.Written(mostFrame: 4096));
        Assert.Throws<ArgumentOutOfRangeException>(() => rings.Writer.Advance(1));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    public async Task ASmallerRingIsTakenThoughMemoryWasHandedOut(int pieces)
    {
        using var rings = new BareRings(16 << 10);
        Memory<byte> room = rings.Writer.GetMemory(3000);
        rings.Offer(1024);
        // This is the header that announces the switch.
        Assert.Equal(FrameHeader.Length, Assert.Single(rings.Running).Operation.Local.Length);
        rings.End(0);
        byte[] sent = [.. Enumerable.Range(0, 700).Select(static i => (byte)i)];
        sent.CopyTo(room);
        for (int i = 0; i < pieces; i++)
            rings.Writer.Advance(sent.Length / pieces);
        await rings.Writer.FlushAsync(TestContext.Current.CancellationToken);
        // Each frame is at most a quarter of the smaller ring.
        Assert.Equal(sent, rings.Written(mostFrame: 256));
    }

    [Fact]
    public async Task AFlushWithoutBytesLetsGoOfTheMemoryThatWasHandedOut()
    {
        using var rings = new BareRings(16 << 10);
        rings.Writer.GetMemory(3000);
        await rings.Writer.FlushAsync(TestContext.Current.CancellationToken);
        Assert.Equal(2, rings.RentedBuffers);
        rings.Writer.Trim();
        Assert.Equal(1, rings.RentedBuffers);
    }
}
