using AllocTools.Endpoints;
using AllocTools.Regions;

namespace AllocTools.Hosting.Tests.Support;

internal class RecordingContext(Journal journal, string providerName) : RmaContext
{
    public override RmaProviderTraits Traits { get; } = new()
    {
        ProviderName = providerName,
        RemoteAccess = true,
        RemoteAccessEnforced = true,
        RegistrationsBoundToEndpoint = journal.RegistrationsBoundToEndpoint,
    };

    protected Journal Journal => journal;

    public override RmaException? Failure => journal.Lost;

    public override IRmaRegistration Register(nint address, long length, RmaAccess access)
    {
        journal.Registers?.Invoke();
        if (journal.RegisterFails is { } failure)
            throw failure;
        journal.Add("registered");
        return new RecordingRegistration();
    }

    public override void Deregister(IRmaRegistration registration) => journal.Add("deregistered");

    public override IRmaEndpoint OpenEndpoint()
    {
        ObjectDisposedException.ThrowIf(IsClosed, this);
        journal.Add("endpoint opened");
        return new RecordingEndpoint(this, journal);
    }

    protected override void Close() => journal.Add("context closed");
}
