using AllocTools.Endpoints;
using AllocTools.Hosting.Tests.Support;
using AllocTools.Regions;

namespace AllocTools.Hosting.Tests.ThirdParty;

/// <summary>The service with which a card's provider opens its context.</summary>
public interface ICardDriver
{
    IRmaContext Open(CardOptions options);
}

/// <summary>Opens contexts that move nothing, and have the name of the device.</summary>
internal sealed class CardDriver : ICardDriver
{
    public Journal Journal { get; } = new();

    public IRmaContext Open(CardOptions options) => new CardContext(Journal, options.Device);

    private sealed class CardContext(Journal journal, string device) : RecordingContext(journal, device)
    {
        public override IRmaEndpoint OpenEndpoint() => new CardEndpoint(this, Journal);
    }
}

internal sealed class CardEndpoint(IRmaContext context, Journal journal) : RecordingEndpoint(context, journal);
