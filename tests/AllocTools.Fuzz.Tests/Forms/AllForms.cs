using AllocTools.Endpoints;

namespace AllocTools.Fuzz.Tests.Forms;

/// <summary>The forms by name.</summary>
internal static class AllForms
{
    public static IReadOnlyDictionary<string, Func<ByteForm>> Makers { get; } = new Func<ByteForm>[]
    {
        static () => new RemoteMemoryForm(),
        static () => new RemoteMemoryTextForm(),
        static () => new RemoteMemoryJsonForm(),
        static () => new EndpointAddressForm(),
        static () => new TransportDescriptionForm(),
        static () => new PeerPlaceForm(),
        static () => new SocketAddressForm(),
        static () => new UcxAddressForm(),
        static () => new MpiAddressForm(),
        static () => new InsertedPeerForm(),
        static () => new CellForm(),
        static () => new NotificationForm(),
        static () => new SetUpMessageForm(),
        static () => new ControlStreamForm(),
        static () => new RingForm(RmaIntegrity.None),
        static () => new RingForm(RmaIntegrity.Crc32C),
        static () => new RingForm(RmaIntegrity.XxHash3),
        static () => new DirectoryRecordForm(),
        static () => new DirectoryAnswerForm(),
        static () => new DirectoryRequestForm(),
        static () => new HttpAnswerForm(),
        static () => new RedisValueForm(),
        static () => new SettingsForm(),
        static () => new SampleForm(),
    }.ToDictionary(static make =>
    {
        using ByteForm form = make();
        return form.Name;
    });
}
