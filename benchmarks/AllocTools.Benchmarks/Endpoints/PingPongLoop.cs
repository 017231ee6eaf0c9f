using AllocTools.Endpoints;

namespace AllocTools.Benchmarks.Endpoints;

/// <summary>Sends and awaits the answer; the caller polls.</summary>
internal sealed class PingPongLoop(LoopEndpoint endpoint)
{
    public const int SendSlot = 0;
    public const int ReceiveSlot = 1;

    private readonly RmaCompletion[] _completions = new RmaCompletion[64];

    public void Run(int operations)
    {
        for (int i = 0; i < operations; i++)
        {
            while (!endpoint.Endpoint.TryPost(endpoint.Receive(ReceiveSlot)))
                endpoint.Poll(_completions);
            int pending = 2;
            while (!endpoint.Endpoint.TryPost(endpoint.Send(SendSlot)))
                pending -= endpoint.Poll(_completions);
            while (pending > 0)
                pending -= endpoint.Poll(_completions);
        }
    }
}
