// Compares a gRPC service in one process, and its client in another, over a fabric and over sockets. Apart from one
// line on each side, neither depends on the transport.
//   GrpcOverRma [--provider shm|tcp;ofi_rxm|…] [--mib 1024]
using System.Diagnostics;
using System.Globalization;
using System.Net;
using AllocTools.Hosting;
using AllocTools.Libfabric;
using Google.Protobuf;
using Grpc.Core;
using GrpcOverRma;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.Options;
using Samples;

const int ChunkLength = 256 << 10;
const int Calls = 2000;
var line = new CommandLine("Compares a gRPC service over a fabric with the same over sockets.",
    [
        new("--provider", "AllocTools:Provider:Provider", "NAME", "the fabric: shm (default), tcp;ofi_rxm, ..."),
        new("--mib", "MiB", "N", "what is moved in each direction (default: 1024)", IsCount: true),
    ], "AllocTools");

try
{
    return args is ["serve", .. string[] rest] ? await ServeAsync(rest) : line.Parse(args) is { } arguments ? await CompareAsync(arguments) : 0;
}
catch (Exception e) when (e is OperationCanceledException or RpcException { StatusCode: StatusCode.Cancelled })
{
    // The other process ends when its input is closed.
    Console.Error.WriteLine("Stopped.");
    return 130;
}
catch (UsageException e)
{
    Console.Error.WriteLine($"error: {e.Message}");
    return 2;
}
catch (Exception e) when (e is OptionsValidationException or RmaPoolStartException or RpcException)
{
    Console.Error.WriteLine(e is OptionsValidationException invalid ? string.Join('\n', invalid.Failures) : e.Message);
    return 1;
}

async Task<int> ServeAsync(string[] arguments)
{
    WebApplicationBuilder builder = WebApplication.CreateBuilder(new WebApplicationOptions { Args = arguments, ContentRootPath = AppContext.BaseDirectory });
    builder.Services.AddRmaMemoryPool<LibfabricProvider>(builder.Configuration.GetSection("AllocTools"));
    builder.WebHost.UseRma(static endPoint => endPoint.Address.Equals(IPAddress.Parse("127.0.0.2"))); // the one line
    builder.Services.AddGrpc();
    await using WebApplication app = builder.Build();
    app.MapGrpcService<TransferService>();
    await app.StartAsync();
    Console.WriteLine(string.Join(' ', app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses));
    // Wait until the client closes this process's input, or has exited.
    await Console.In.ReadToEndAsync();
    await app.StopAsync();
    return 0;
}

async Task<int> CompareAsync(string[] arguments)
{
    using var server = Process.Start(new ProcessStartInfo(Environment.ProcessPath!, ["serve", .. arguments]) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
    string[]? urls = (await server.StandardOutput.ReadLineAsync())?.Split(' ');
    if (urls is null)
    {
        // The server has already reported the reason.
        await server.WaitForExitAsync();
        return server.ExitCode;
    }
    HostApplicationBuilder builder = CommandLine.CreateBuilder(arguments);
    builder.Services.AddRmaMemoryPool<LibfabricProvider>(builder.Configuration.GetSection("AllocTools"));
    builder.Services.AddRmaConnections();
    builder.Services.AddGrpcClient<Transfer.TransferClient>("sockets", o => o.Address = new Uri(urls.Single(u => u.Contains("127.0.0.1", StringComparison.Ordinal))));
    builder.Services.AddGrpcClient<Transfer.TransferClient>("fabric", o => o.Address = new Uri(urls.Single(u => u.Contains("127.0.0.2", StringComparison.Ordinal)))).UseRma(); // the one line
    using IHost host = builder.Build();
    await host.StartAsync();
    CancellationToken stopping = host.Services.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping;
    var clients = host.Services.GetRequiredService<Grpc.Net.ClientFactory.GrpcClientFactory>();
    string fabric = builder.Configuration["AllocTools:Provider:Provider"] ?? "the fabric";
    long chunks = Math.Max(1, builder.Configuration.GetValue<long>("MiB") * (1 << 20) / ChunkLength);
    Console.WriteLine($"{chunks * ChunkLength >> 20} MiB in chunks of {ChunkLength >> 10} KiB, between processes {Environment.ProcessId} and {server.Id}");
    Console.WriteLine($"{"",-14}{"one call (median)",20}{"server to client",20}{"client to server",20}");
    bool isWhole = true;
    foreach ((string name, string title) in new[] { ("sockets", "sockets"), ("fabric", fabric) })
    {
        Transfer.TransferClient client = clients.CreateClient<Transfer.TransferClient>(name);
        double call = await CallAsync(client, stopping);
        (double down, bool isDownWhole) = await DownloadAsync(client, chunks, stopping);
        (double up, bool isUpWhole) = await UploadAsync(client, chunks, stopping);
        isWhole &= isDownWhole && isUpWhole;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{title,-14}{call,17:0.0} us{down,15:0.00} GiB/s{up,15:0.00} GiB/s"));
    }
    Console.WriteLine(isWhole ? "All bytes arrived as they were sent." : "Some bytes did not arrive, or arrived changed.");
    await host.StopAsync();
    server.StandardInput.Close();
    await server.WaitForExitAsync();
    return isWhole ? server.ExitCode : 1;
}

static async Task<double> CallAsync(Transfer.TransferClient client, CancellationToken cancellationToken)
{
    var chunk = new Chunk { Data = ByteString.CopyFrom(new byte[64]) };
    double[] times = new double[Calls];
    for (int i = -Calls / 4; i < Calls; i++)
    {
        long start = Stopwatch.GetTimestamp();
        await client.PingAsync(chunk, cancellationToken: cancellationToken);
        if (i >= 0)
            times[i] = Stopwatch.GetElapsedTime(start).TotalMicroseconds;
    }
    Array.Sort(times);
    return times[Calls / 2];
}

static async Task<(double Speed, bool IsWhole)> DownloadAsync(Transfer.TransferClient client, long chunks, CancellationToken cancellationToken)
{
    var clock = Stopwatch.StartNew();
    using AsyncServerStreamingCall<Chunk> call = client.Download(new Order { Chunks = chunks, Length = ChunkLength }, cancellationToken: cancellationToken);
    long whole = await TransferService.CountWholeAsync(call.ResponseStream);
    return (chunks * (double)ChunkLength / (1 << 30) / clock.Elapsed.TotalSeconds, whole == chunks);
}

static async Task<(double Speed, bool IsWhole)> UploadAsync(Transfer.TransferClient client, long chunks, CancellationToken cancellationToken)
{
    var clock = Stopwatch.StartNew();
    using AsyncClientStreamingCall<Chunk, Receipt> call = client.Upload(cancellationToken: cancellationToken);
    Chunk chunk = TransferService.NewChunk(ChunkLength);
    for (long i = 0; i < chunks; i++)
        await call.RequestStream.WriteAsync(chunk, cancellationToken);
    await call.RequestStream.CompleteAsync();
    Receipt receipt = await call;
    return (chunks * (double)ChunkLength / (1 << 30) / clock.Elapsed.TotalSeconds, receipt.Chunks == chunks);
}

/// <summary>The gRPC service of the sample.</summary>
internal sealed class TransferService : Transfer.TransferBase
{
    public override Task<Chunk> Ping(Chunk request, ServerCallContext context) => Task.FromResult(request);

    public override async Task Download(Order request, IServerStreamWriter<Chunk> responseStream, ServerCallContext context)
    {
        Chunk chunk = NewChunk(request.Length);
        for (long i = 0; i < request.Chunks; i++)
            await responseStream.WriteAsync(chunk, context.CancellationToken);
    }

    public override async Task<Receipt> Upload(IAsyncStreamReader<Chunk> requestStream, ServerCallContext context) => new() { Chunks = await CountWholeAsync(requestStream) };

    public static Chunk NewChunk(int length)
    {
        byte[] data = new byte[length];
        new Random(length).NextBytes(data);
        return new Chunk { Data = UnsafeByteOperations.UnsafeWrap(data) };
    }

    /// <summary>Returns how many chunks arrived as they were sent.</summary>
    public static async Task<long> CountWholeAsync(IAsyncStreamReader<Chunk> chunks)
    {
        Chunk? expected = null;
        long whole = 0;
        await foreach (Chunk chunk in chunks.ReadAllAsync())
        {
            expected ??= NewChunk(chunk.Data.Length);
            whole += chunk.Data.Span.SequenceEqual(expected.Data.Span) ? 1 : 0;
        }
        return whole;
    }
}
