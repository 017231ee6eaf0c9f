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
        static () => new InsertedPeerForm(),
        static () => new CellForm(),
        static () => new NotificationForm(),
        static () => new SetUpMessageForm(),
        static () => new ControlStreamForm(),
        static () => new RingForm(),
        static () => new DirectoryRecordForm(),
        static () => new DirectoryAnswerForm(),
        static () => new DirectoryRequestForm(),
        static () => new SettingsForm(),
        static () => new SampleForm(),
    }.ToDictionary(static make =>
    {
        using ByteForm form = make();
        return form.Name;
    });
}
