using System.Security.Cryptography;
using Google.Protobuf;
using Grpc.Core;

namespace AllocTools.Frameworks.Tests.Grpc;

/// <summary>A service with each kind of call. It knows nothing of what carries it.</summary>
internal sealed class EchoService(EchoService.Endings endings) : Echo.EchoBase
{
    public override Task<Chunk> Say(Chunk request, ServerCallContext context) => request.Number < 0
        ? throw new RpcException(new Status(StatusCode.OutOfRange, "below zero"))
        : Task.FromResult(request);

    public override async Task<Sum> Collect(IAsyncStreamReader<Chunk> requestStream, ServerCallContext context)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var sum = new Sum();
        await foreach (Chunk chunk in requestStream.ReadAllAsync(context.CancellationToken))
        {
            sum.Chunks++;
            sum.Bytes += chunk.Data.Length;
            hash.AppendData(chunk.Data.Span);
        }
        sum.Hash = ByteString.CopyFrom(hash.GetHashAndReset());
        return sum;
    }

    public override async Task Count(Order request, IServerStreamWriter<Chunk> responseStream, ServerCallContext context)
    {
        ByteString data = UnsafeByteOperations.UnsafeWrap(DataOf(request.Length));
        for (int i = 0; i < request.Chunks; i++)
            await responseStream.WriteAsync(new Chunk { Number = i, Data = data }, context.CancellationToken);
    }

    /// <summary>Returns the data of each chunk of <see cref="Count"/>.</summary>
    public static byte[] DataOf(int length)
    {
        byte[] data = new byte[length];
        new Random(length).NextBytes(data);
        return data;
    }

    public override async Task Chat(IAsyncStreamReader<Chunk> requestStream, IServerStreamWriter<Chunk> responseStream, ServerCallContext context)
    {
        await foreach (Chunk chunk in requestStream.ReadAllAsync(context.CancellationToken))
            await responseStream.WriteAsync(chunk, context.CancellationToken);
    }

    public override async Task Hang(Chunk request, IServerStreamWriter<Chunk> responseStream, ServerCallContext context)
    {
        await responseStream.WriteAsync(request, context.CancellationToken);
        await using CancellationTokenRegistration registration = context.CancellationToken.Register(() => endings.Cancelled.TrySetResult());
        await endings.Cancelled.Task;
    }

    /// <summary>The part of the service's state that the test can see.</summary>
    public sealed class Endings
    {
        public TaskCompletionSource Cancelled { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
