using System.Buffers;
using System.IO.Pipelines;
using System.Security.Cryptography;
using AllocTools.Buffers;
using AllocTools.Endpoints;
using Xunit;

namespace AllocTools.Testing.Conformance;

/// <summary>
/// Tests on each transport RMA to and from a pool's blocks that other code has filled, through memory owners and pipes,
/// without copying.
/// </summary>
public abstract class PipeConformance<TTransport> : EndpointConformance<TTransport>
    where TTransport : IConformingTransport
{
    private const int Total = 1 << 20;

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task MemoryOfAnOwnerIsReadAndWritten(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        using MemoryPool<byte> memory = pair.Left.Pool.AsMemoryPool();
        using RmaBuffer target = pair.Right.Pool.Rent(5000);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite | RmaAccess.RemoteRead);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        using IMemoryOwner<byte> source = memory.Rent(5000);
        using IMemoryOwner<byte> back = memory.Rent(5000);
        RandomNumberGenerator.Fill(source.Memory.Span);
        back.Memory.Span.Clear();
        Assert.True(RmaSlice.TryGet(source.Memory[1000..6000], out RmaSlice written));
        Assert.True(RmaSlice.TryGet(back.Memory[..5000], out RmaSlice read));
        await pair.Left.Endpoint.WriteAsync(written, remote, cancellationToken: Token);
        await pair.AssertWrittenAsync(written, target);
        await pair.Left.Endpoint.ReadAsync(read, remote, cancellationToken: Token);
        Assert.True(back.Memory.Span[..5000].SequenceEqual(source.Memory.Span[1000..6000]));
    }

    /// <summary>The second round registers nothing, and each byte is sent from where the pipe's writer has put it.</summary>
    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task WhatIsWrittenIntoAPipeGoesOnWithoutACopy(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        using RmaBuffer target = pair.Right.Pool.Rent(Total);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        byte[] bytes = new byte[Total];
        RmaBatch batch = pair.Left.Endpoint.CreateBatch();
        long registrations = 0;
        for (int round = 0; round < 3; round++)
        {
            RandomNumberGenerator.Fill(bytes);
            var pipe = new Pipe(pair.Left.Pool.ToPipeOptions(maximumSegmentSize: 64 << 10, useSynchronizationContext: false));
            Task filling = FillAsync(pipe.Writer, bytes);
            long offset = 0;
            while (true)
            {
                ReadResult read = await pipe.Reader.ReadAsync(Token);
                batch.Clear();
                batch.Write(read.Buffer, remote.Slice(offset));
                await batch.RunAsync(cancellationToken: Token);
                offset += read.Buffer.Length;
                pipe.Reader.AdvanceTo(read.Buffer.End);
                if (read.IsCompleted)
                    break;
            }
            await filling;
            pipe.Reader.Complete();
            Assert.Equal(Total, offset);
            DateTime limit = DateTime.UtcNow + TestTime.Seconds(30);
            while (!pair.Traits.DeliveryComplete && !target.Span.SequenceEqual(bytes) && DateTime.UtcNow < limit)
                await Task.Yield();
            Assert.True(target.Span.SequenceEqual(bytes), $"Other bytes arrived in round {round}.");
            RmaPoolStatistics now = pair.Left.Pool.GetStatistics();
            Assert.Equal(0, now.DeferredReturns);
            Assert.True(round == 0 || now.Registrations == registrations, $"Round {round} has registered memory {now.Registrations - registrations} times.");
            registrations = now.Registrations;
        }
        pair.Left.AssertAllComeBack();
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task WhatIsReadFromAPeerArrivesInAPipe(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        using RmaBuffer source = pair.Right.Pool.Rent(Total);
        RandomNumberGenerator.Fill(source.Span);
        using RmaExposure exposure = source.Expose(RmaAccess.RemoteRead);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        var pipe = new Pipe(pair.Left.Pool.ToPipeOptions(useSynchronizationContext: false));
        Task reading = ReadAsync();
        long offset = 0;
        while (true)
        {
            ReadResult read = await pipe.Reader.ReadAsync(Token);
            foreach (ReadOnlyMemory<byte> segment in read.Buffer)
            {
                Assert.True(segment.Span.SequenceEqual(source.GetSpan(offset, segment.Length)), $"Other bytes came from {offset} on.");
                offset += segment.Length;
            }
            pipe.Reader.AdvanceTo(read.Buffer.End);
            if (read.IsCompleted)
                break;
        }
        await reading;
        pipe.Reader.Complete();
        Assert.Equal(Total, offset);
        pair.Left.AssertAllComeBack();

        async Task ReadAsync()
        {
            for (long done = 0; done < Total;)
            {
                Assert.True(RmaSlice.TryGet(pipe.Writer.GetMemory(10_000), out RmaSlice room));
                room = room.Slice(0, Math.Min(room.Length, Total - done));
                await pair.Left.Endpoint.ReadAsync(room, remote.Slice(done, room.Length), cancellationToken: Token);
                pipe.Writer.Advance((int)room.Length);
                done += room.Length;
                await pipe.Writer.FlushAsync(Token);
            }
            pipe.Writer.Complete();
        }
    }

    /// <summary>Writes the bytes in pieces of all lengths.</summary>
    private static async Task FillAsync(PipeWriter writer, byte[] bytes)
    {
        for (int done = 0, length = 1; done < bytes.Length; done += length)
        {
            length = Math.Min(length * 3 % 20_011, bytes.Length - done);
            await writer.WriteAsync(bytes.AsMemory(done, length), Token);
        }
        writer.Complete();
    }
}
