using AllocTools.Endpoints;

namespace AllocTools.Benchmarks.Endpoints;

/// <summary>Writes or reads, with a window of operations outstanding; the caller polls.</summary>
internal sealed class WindowLoop(LoopEndpoint endpoint, bool writes, int window)
{
    private readonly int[] _freeSlots = [.. Enumerable.Range(0, window)];
    private readonly RmaCompletion[] _completions = new RmaCompletion[64];
    private int _freeCount = window;

    public void Run(int operations)
    {
        int posted = 0;
        int done = 0;
        while (done < operations)
        {
            while (posted < operations && _freeCount > 0)
            {
                int slot = _freeSlots[_freeCount - 1];
                if (!endpoint.Endpoint.TryPost(writes ? endpoint.Write(slot) : endpoint.Read(slot)))
                    break;
                _freeCount--;
                posted++;
            }
            int count = endpoint.Poll(_completions);
            for (int i = 0; i < count; i++)
                _freeSlots[_freeCount++] = (int)_completions[i].Context;
            done += count;
        }
    }
}
