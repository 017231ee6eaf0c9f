using AllocTools.Endpoints;

namespace AllocTools.Benchmarks.Endpoints;

/// <summary>Makes progress for the initiator, and answers its messages.</summary>
internal sealed class TargetLoop(LoopEndpoint endpoint, bool answers)
{
    private readonly RmaCompletion[] _completions = new RmaCompletion[64];
    private bool _receives;
    private bool _sends;
    private bool _owes;

    /// <summary>Runs until it is stopped; outstanding operations stay outstanding until the next run.</summary>
    public void Run(ref bool stop)
    {
        while (!Volatile.Read(ref stop))
        {
            if (answers && !_receives)
                _receives = endpoint.Endpoint.TryPost(endpoint.Receive(PingPongLoop.ReceiveSlot));
            if (_owes && !_sends && endpoint.Endpoint.TryPost(endpoint.Send(PingPongLoop.SendSlot)))
            {
                _sends = true;
                _owes = false;
            }
            int count = endpoint.Poll(_completions);
            for (int i = 0; i < count; i++)
            {
                if (_completions[i].Context == PingPongLoop.ReceiveSlot)
                {
                    _receives = false;
                    _owes = true;
                }
                else
                {
                    _sends = false;
                }
            }
        }
    }
}
