using System.Buffers;
using System.Security.Cryptography;
using System.Text.Json;
using AllocTools.Collections;
using AllocTools.Endpoints;
using Xunit;

namespace AllocTools.Testing.Conformance;

/// <summary>
/// Tests on each transport that arrays, lists, writers and streams can be sent to a peer and received from one.
/// </summary>
public abstract class CollectionConformance<TTransport> : EndpointConformance<TTransport>
    where TTransport : IConformingTransport
{
    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task ArraysAndListsAreWrittenAndRead(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        const int Count = 30_000;
        using RmaArray<double> target = pair.Right.Pool.RentArray<double>(Count);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        using RmaArray<double> source = pair.Left.Pool.RentArray<double>(Count);
        for (int i = 0; i < Count; i++)
            source[i] = Math.Sqrt(i);
        await pair.Left.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
        await pair.AssertWrittenAsync(source, target);
        Assert.Equal(Math.Sqrt(2), target[2]);

        using RmaList<double> list = new(pair.Left.Pool);
        list.Add(-1);
        list.SetCount(1001);
        Task reading = pair.Left.Endpoint.ReadAsync(list.Slice(1, 1000), remote.Slice(8 * 500, 8 * 1000), cancellationToken: Token).AsTask();
        await reading;
        list.AddRange(source.GetSpan(1500, 10_000));
        Assert.Equal(-1, list[0]);
        Assert.True(list.GetSpan(1, 11_000).SequenceEqual(source.GetSpan(500, 11_000)));
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AListDoesNotGrowWhileAnOperationFillsIt(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        using RmaList<int> list = new(pair.Right.Pool, 4);
        list.SetCount(4);
        // The receive waits for a message, so it holds the list for as long as the test needs.
        Task<RmaReceiveResult> receiving = pair.Right.Endpoint.ReceiveAsync(list.Slice(0, 4), cancellationToken: Token).AsTask();
        Assert.Throws<InvalidOperationException>(() => list.Add(5));
        using RmaArray<int> message = pair.Left.Pool.RentArray<int>(4);
        message.Fill(17);
        await pair.Left.Endpoint.SendAsync(message, pair.Left.Peer, cancellationToken: Token);
        Assert.Equal(16, (await receiving).Length);
        list.Add(5);
        Assert.Equal([17, 17, 17, 17, 5], list.Span);
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task WhatAWriterAndAStreamHaveGoesOutAsOneBatchAndComesBackAsOne(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        using RmaBuffer target = pair.Right.Pool.Rent(1 << 20);
        target.Span.Clear();
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        RmaBatch batch = pair.Left.Endpoint.CreateBatch();

        using RmaBufferWriter writer = new(pair.Left.Pool, 1000);
        using (Utf8JsonWriter json = new(writer))
            JsonSerializer.Serialize(json, Enumerable.Range(0, 5000));
        Assert.Equal(writer.SegmentCount, writer.WriteTo(batch, remote.Slice(100)));
        Assert.Equal(writer.SegmentCount, batch.Count);
        Assert.Throws<ArgumentException>("destination", () => writer.WriteTo(batch, remote.Slice(0, writer.WrittenCount - 1)));
        await batch.RunAsync(cancellationToken: Token);
        using RmaBuffer expected = pair.Left.Pool.Rent(100 + writer.WrittenCount + 1);
        expected.Span.Clear();
        writer.GetReadOnlySequence().CopyTo(expected.Span[100..]);
        await pair.AssertWrittenAsync(expected, target.Slice(0, expected.Length));

        batch.Clear();
        await using RmaStream back = new(pair.Left.Pool, 4096);
        back.Write("what was there before"u8);
        int reads = back.ReadFrom(batch, remote.Slice(100, writer.WrittenCount));
        Assert.Equal((writer.WrittenCount + 4095) / 4096, reads);
        await batch.RunAsync(cancellationToken: Token);
        Assert.Equal((writer.WrittenCount, 0), (back.Length, back.Position));
        Assert.Equal(Enumerable.Range(0, 5000), await JsonSerializer.DeserializeAsync<int[]>(back, cancellationToken: Token));

        batch.Clear();
        byte[] bytes = RandomNumberGenerator.GetBytes(300_000);
        back.SetLength(0);
        back.Write(bytes);
        Assert.Throws<ArgumentException>("destination", () => back.WriteTo(batch, remote.Slice(0, 299_999)));
        Assert.Equal(0, batch.Count);
        Assert.Equal(74, back.WriteTo(batch, remote));
        await batch.RunAsync(cancellationToken: Token);
        using RmaBuffer sent = pair.Left.Pool.Rent(bytes.Length);
        bytes.CopyTo(sent.Span);
        await pair.AssertWrittenAsync(sent, target.Slice(0, bytes.Length));
    }
}
