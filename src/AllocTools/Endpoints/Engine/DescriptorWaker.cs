using AllocTools.Interop;

namespace AllocTools.Endpoints.Engine;

/// <summary>Waits on the completion queue's descriptor and on an event of its own (Linux).</summary>
internal sealed class DescriptorWaker(int queueDescriptor) : IWaker
{
    private readonly int _event = DescriptorWait.CreateEvent();

    public void Wake() => DescriptorWait.Signal(_event);

    public WaitEnd Wait(TimeSpan longest, bool forCompletions)
    {
        (bool isReady, bool isBroken, bool isSignalled) = DescriptorWait.Wait(forCompletions ? queueDescriptor : -1, _event, longest);
        return isBroken ? WaitEnd.Broken : isSignalled ? WaitEnd.Woken : isReady ? WaitEnd.Ready : WaitEnd.TimedOut;
    }

    public void Dispose() => DescriptorWait.Close(_event);
}
