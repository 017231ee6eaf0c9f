using System.Buffers;
using System.IO.Pipelines;
using System.Security.Cryptography;
using AllocTools.Connections.Tests.Support;
using AllocTools.Endpoints;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections.Tests;

/// <summary>Tests bytes in both directions, on each transport that works inside one process.</summary>
public sealed class StreamTests
{
    public static TheoryData<string> Fabrics => ConnectionSide.InOneProcess;

    public static TheoryData<string, RmaIsolation> IsolatedFabrics => Combine<RmaIsolation>();

    [Theory, MemberData(nameof(IsolatedFabrics))]
    public async Task AnAnswerComesBack(string fabric, RmaIsolation isolation)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric, isolation: isolation);
        for (int round = 0; round < 100; round++)
        {
            await pair.Left.Output.WriteAsync(new byte[] { 1, 2, (byte)round }, TestContext.Current.CancellationToken);
            Assert.Equal([1, 2, (byte)round], await pair.Right.Input.ReadBytesAsync(3));
            await pair.Right.Output.WriteAsync(new byte[] { (byte)round, 4 }, TestContext.Current.CancellationToken);
            Assert.Equal([(byte)round, 4], await pair.Left.Input.ReadBytesAsync(2));
        }
        await pair.EndCleanlyAsync();
    }

    public static TheoryData<string, RmaIntegrity> CheckedFabrics => Combine<RmaIntegrity>();

    [Theory, MemberData(nameof(CheckedFabrics))]
    public async Task ALongStreamArrivesWhole(string fabric, RmaIntegrity integrity)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric, o => o.Integrity = integrity);
        byte[] sent = RandomNumberGenerator.GetBytes(5_000_001);
        Task writing = Task.Run(async () =>
        {
            int at = 0;
            for (int part = 1; at < sent.Length; part = part * 3 % 100_003)
            {
                int length = Math.Min(part, sent.Length - at);
                await pair.Left.Output.WriteAsync(sent.AsMemory(at, length));
                at += length;
            }
            await pair.Left.Output.CompleteAsync();
        }, TestContext.Current.CancellationToken);
        byte[] received = await pair.Right.Input.ReadToEndAsync();
        await writing;
        Assert.Equal(sent, received);
        await pair.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task BothDirectionsRunAtOnce(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric);
        byte[] one = RandomNumberGenerator.GetBytes(3_000_000);
        byte[] other = RandomNumberGenerator.GetBytes(2_000_000);
        Task<byte[]> right = pair.Right.Input.ReadToEndAsync();
        Task<byte[]> left = pair.Left.Input.ReadToEndAsync();
        await Task.WhenAll(WriteAllAsync(pair.Left.Output, one), WriteAllAsync(pair.Right.Output, other));
        Assert.Equal(one, await right);
        Assert.Equal(other, await left);
        await pair.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task OneDirectionEndsBeforeTheOther(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric);
        await pair.Left.Output.WriteAsync("question"u8.ToArray(), TestContext.Current.CancellationToken);
        await pair.Left.Output.CompleteAsync();
        Assert.Equal("question"u8.ToArray(), await pair.Right.Input.ReadToEndAsync());
        byte[] answer = RandomNumberGenerator.GetBytes(100_000);
        Task<byte[]> reading = pair.Left.Input.ReadToEndAsync();
        await WriteAllAsync(pair.Right.Output, answer);
        Assert.Equal(answer, await reading);
        await pair.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AnAbortEndsBothSides(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric);
        Task<byte[]> here = pair.Left.Input.ReadToEndAsync();
        Task<byte[]> there = pair.Right.Input.ReadToEndAsync();
        pair.Left.Abort(new ConnectionAbortedException("enough"));
        Assert.Equal("enough", (await Assert.ThrowsAsync<ConnectionAbortedException>(() => here)).Message);
        await Assert.ThrowsAsync<ConnectionResetException>(() => there);
        await CancelledAsync(pair.Right.ConnectionClosed);
        Assert.True((await pair.Right.Output.WriteAsync(new byte[1], TestContext.Current.CancellationToken)).IsCompleted);
        await pair.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AMessageMayBeLongerThanTheRing(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric, o => o.InitialRingBytes = 1024);
        byte[] sent = RandomNumberGenerator.GetBytes(300_000);
        Task writing = WriteAllAsync(pair.Left.Output, sent);
        // Nothing is consumed until everything has arrived.
        ReadResult result = await pair.Right.Input.ReadAtLeastAsync(sent.Length, TestContext.Current.CancellationToken);
        Assert.Equal(sent, result.Buffer.ToArray());
        pair.Right.Input.AdvanceTo(result.Buffer.End);
        await writing;
        await pair.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task WhoReadsNoMoreStopsTheWriter(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric);
        await pair.Right.Input.CompleteAsync();
        FlushResult result;
        do
            result = await pair.Left.Output.WriteAsync(new byte[10_000], TestContext.Current.CancellationToken);
        while (!result.IsCompleted);
        await pair.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task ASlowReaderHoldsTheWriterUp(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric);
        byte[] sent = RandomNumberGenerator.GetBytes(1_000_000);
        Task writing = WriteAllAsync(pair.Left.Output, sent);
        // What fits into the ring and the staging memory has arrived, and nothing more does.
        long most = new RmaConnectionOptions().InitialRingBytes + new RmaConnectionOptions().PauseWriterBytes + 100_000;
        Assert.True(pair.Left.Output.UnflushedBytes <= most);
        Assert.False(writing.IsCompleted);
        using var received = new MemoryStream();
        while (received.Length < sent.Length)
        {
            ReadResult result = await pair.Right.Input.ReadAsync(TestContext.Current.CancellationToken);
            ReadOnlySequence<byte> part = result.Buffer.Slice(0, Math.Min(result.Buffer.Length, 1000));
            received.Write(part.ToArray());
            pair.Right.Input.AdvanceTo(part.End);
        }
        await writing;
        Assert.Equal(sent, received.ToArray());
        await pair.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task SingleBytesArriveInOrder(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric);
        byte[] sent = RandomNumberGenerator.GetBytes(20_000);
        Task<byte[]> reading = pair.Right.Input.ReadToEndAsync();
        for (int i = 0; i < sent.Length; i++)
            await pair.Left.Output.WriteAsync(sent.AsMemory(i, 1), TestContext.Current.CancellationToken);
        await pair.Left.Output.CompleteAsync();
        Assert.Equal(sent, await reading);
        await pair.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AReadThatIsPendingEndsWithTheConnection(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric);
        await using Stream stream = pair.Left.AsStream();
        ValueTask<int> reading = stream.ReadAsync(new byte[1], TestContext.Current.CancellationToken);
        stream.Dispose();
        await Assert.ThrowsAsync<IOException>(() => reading.AsTask().WaitAsync(Testing.TestTime.Seconds(20), CancellationToken.None));
        Assert.Empty(await pair.Right.Input.ReadToEndAsync());
        await pair.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AWriteThatIsPendingEndsWithTheConnection(string fabric)
    {
        // The timeout is longer than the test.
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric, static o => o.CloseTimeout = TimeSpan.FromMinutes(10));
        await using Stream stream = pair.Left.AsStream();
        Task writing;
        do
            writing = stream.WriteAsync(new byte[10_000], TestContext.Current.CancellationToken).AsTask();
        while (writing.IsCompleted);
        stream.Dispose();
        await Assert.ThrowsAsync<IOException>(() => writing.WaitAsync(Testing.TestTime.Seconds(20), CancellationToken.None));
        await Assert.ThrowsAsync<ConnectionResetException>(() => pair.Right.Input.ReadToEndAsync());
        await pair.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task OfAStreamTheFirstWriteIsLostAfterThePeerHasClosedAndTheNextOneFails(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric);
        await pair.Right.DisposeAsync();
        while (!(await pair.Left.Output.FlushAsync(TestContext.Current.CancellationToken)).IsCompleted)
            await Task.Yield();
        await using Stream stream = pair.Left.AsStream();
        await stream.WriteAsync(new byte[100], TestContext.Current.CancellationToken);
        await stream.FlushAsync(TestContext.Current.CancellationToken);
        Assert.Equal(0, await stream.ReadAsync(new byte[1], TestContext.Current.CancellationToken));
        await Assert.ThrowsAsync<IOException>(() => stream.WriteAsync(new byte[100], TestContext.Current.CancellationToken).AsTask());
        await pair.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task WhatWasWrittenArrivesThoughAllIsClosedAtOnce(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric);
        byte[] sent = RandomNumberGenerator.GetBytes(200_000);
        Stream stream = pair.Left.AsStream();
        Task<byte[]> reading = pair.Right.Input.ReadToEndAsync();
        await stream.WriteAsync(sent, TestContext.Current.CancellationToken);
        stream.Dispose();
        await pair.LeftSide.Connections.DisposeAsync();
        Assert.Equal(sent, await reading);
    }

    /// <summary>Combines each fabric with each value.</summary>
    private static TheoryData<string, T> Combine<T>()
        where T : struct, Enum
    {
        var all = new TheoryData<string, T>();
        foreach (TheoryDataRow<string> fabric in Fabrics)
        {
            foreach (T value in Enum.GetValues<T>())
                all.Add(fabric.Data, value);
        }
        return all;
    }

    private static async Task WriteAllAsync(PipeWriter writer, byte[] bytes)
    {
        for (int at = 0; at < bytes.Length; at += 10_000)
            await writer.WriteAsync(bytes.AsMemory(at, Math.Min(10_000, bytes.Length - at)), TestContext.Current.CancellationToken);
        await writer.CompleteAsync();
    }

    private static async Task CancelledAsync(CancellationToken token)
    {
        var cancelled = new TaskCompletionSource();
        await using CancellationTokenRegistration registration = token.Register(cancelled.SetResult);
        await cancelled.Task.WaitAsync(Testing.TestTime.Seconds(20), CancellationToken.None);
    }
}
