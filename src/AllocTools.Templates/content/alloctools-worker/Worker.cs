using AllocTools;
using AllocTools.Endpoints;
using Microsoft.Extensions.Options;

namespace AllocToolsWorker1;

#if (isHost)
/// <summary>Writes into the inbox by RMA.</summary>
internal sealed class Worker(IRmaMemoryPool pool, IRmaEndpoint endpoint, Inbox inbox, IOptions<TransferOptions> options, ILogger<Worker> logger) : BackgroundService
#else
/// <summary>Asks the peer for its memory by HTTP, and writes into it by RMA.</summary>
internal sealed class Worker(IRmaMemoryPool pool, IRmaEndpoint endpoint, IHttpClientFactory http, IOptions<TransferOptions> options, ILogger<Worker> logger, IHostApplicationLifetime lifetime) : BackgroundService
#endif
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            await WriteBlocksAsync(stoppingToken);
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // The service ends before all blocks are written.
        }
        catch (Exception)
        {
            // The host logs the exception and ends, but its exit code would be 0.
            Environment.ExitCode = 1;
            throw;
        }
    }

    private async Task WriteBlocksAsync(CancellationToken stoppingToken)
    {
#if (isHost)
        Invitation invitation = inbox.Invitation;
#else
        using HttpClient client = http.CreateClient();
        client.BaseAddress = options.Value.Peer;
        Invitation invitation = await AskAsync(client, stoppingToken);
#endif
        RmaPeer peer = endpoint.InsertPeer(invitation.Address.Span);
        await WriteToAsync(peer, invitation.Memory, stoppingToken);
        // The peer ends next, which should not be reported as a loss.
        endpoint.RemovePeer(peer);
#if (isHost)
        int arrived = await inbox.CloseAsync(stoppingToken);
        logger.LogInformation("The inbox has {Bytes} bytes.", arrived);
#else
        using HttpResponseMessage answer = await client.PostAsync("inbox/close", null, stoppingToken);
        answer.EnsureSuccessStatusCode();
        logger.LogInformation("The peer has {Bytes} bytes.", await answer.Content.ReadAsStringAsync(stoppingToken));
        lifetime.StopApplication();
#endif
    }

    private async Task WriteToAsync(RmaPeer peer, RemoteMemory memory, CancellationToken stoppingToken)
    {
        using RemoteRegion remote = endpoint.Import(peer, memory);
        for (int block = 0; block < options.Value.Blocks; block++)
        {
            using RmaBuffer buffer = await pool.RentAsync(TransferOptions.BlockLength, stoppingToken);
            buffer.Span.Fill((byte)(block + 1));
            RemoteSlice place = remote.Slice((long)block * TransferOptions.BlockLength, TransferOptions.BlockLength);
            await endpoint.WriteAsync(buffer, place, notification: (ulong)block, cancellationToken: stoppingToken);
        }
    }
#if (!isHost)

    private async Task<Invitation> AskAsync(HttpClient client, CancellationToken stoppingToken)
    {
        for (; ; )
        {
            try
            {
                return (await client.GetFromJsonAsync<Invitation>("inbox", stoppingToken))!;
            }
            catch (HttpRequestException e) when (e.HttpRequestError is HttpRequestError.ConnectionError)
            {
                logger.LogInformation("There is no peer at {Peer} yet.", client.BaseAddress);
                await Task.Delay(TimeSpan.FromSeconds(1), stoppingToken);
            }
        }
    }
#endif
}
