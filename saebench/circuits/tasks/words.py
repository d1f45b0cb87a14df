"""Words for the templates. Each tokenizer uses those of them that it holds as one token."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


VARIABLES = _words("""
    action address args array attrs axis base block body buffer bytes cache chars child code color cols column
    command config content context count data date default depth dest dict end entry error event expected field fields
    file files filename first flags format frame func group handler headers height host image index info input item
    items key keys kind label last left length level limit line lines list loop lower mask match max message method
    min mode model module msg name names node nodes number obj offset old options order output params parent part
    parts path pattern port prefix protocol query range rate record request result right root row rows scope second
    section seed selection shape size source start state status step stop stream string style suffix symbol table tag
    target text timeout title token total tree type types unit update url user value values version view weight
    width window word
""")
FUNCTIONS = _words("""
    add append build call check clear close compare connect copy count create decode delete draw emit encode
    execute extend fetch filter find format get handle insert join load lookup merge move open parse patch play post
    process push read register release remove render replace report reset resolve run save scan search select send
    split start stop store strip sum test trace update validate visit wait walk write
""")
CLASSES = _words("""
    Action Base Block Buffer Cache Client Column Command Config Connection Context Data Document Element Error
    Event Field File Filter Frame Group Handler Header Image Index Info Item Key Line Loader Manager Message Model
    Module Node Object Option Parser Path Process Protocol Query Queue Reader Record Request Response Result Row
    Server Session Socket State Stream Table Task Test Text Thread Token Tree Type User Value Version View Widget
    Window Worker Writer
""")
MODULES = _words("""
    array ast asyncio base codecs collections config copy core datetime dis distutils enum functions git http
    importlib inspect io json locale logging math model numpy operator os pandas parser path pickle platform plot
    queue random re select server signal socket sqlite ssl stat string struct subprocess sys table tempfile text
    threading time tkinter token traceback turtle types typing unittest url user util utils warnings weakref xml
    zip
""")
ALIASES = _words("""
    ab ac al ap ar bo ca cb cl cm co cp cs ct cu da db dc dd de df dp ds dt ed ef el em en es et ex ff fn fo fp ft
    ge gl go gp gr hp ib ic id ig ip ir it jo ke kw la lc lf lo lp ls lt ma md mk ml mm mo mp ms na nd ne np ns od ol
    op os pa pb pc pd pe ph pi pk pl pm po pr ps pt py qu ra rc re ri rn ro rs rt sa sc sd se sh sl sm sn so sp sq sr
    ss st su sw sy ta tb td te tf th tk tm tn to tp tr ts tt tz un up ur us ut va ve vi vm vo wa we wh wo wr xs
    za
""")
NOUNS = _words("""
    address argument array base block body buffer cache character child code color column command comment
    connection content context count data date default depth directory document element entry error event example
    exception field file filter flag format frame function group handle handler header height host image index input
    instance item key label length level line list loop map mask match memory message method mode model module name
    node number object offset option order output package parameter parent part path pattern pointer port position
    prefix process protocol query queue range record request response result root row section sequence server session
    shape size socket source stack state status step stream string style symbol system table tag target task template
    text thread time title token tree type unit user value variable version view width window word
""")
NAMES = _words("""
    Aaron Adam Alan Alex Alice Amy Andrew Andy Anna Anthony Arthur Austin Ben Blake Brandon Brian Carter Charles
    Charlie Christopher Claire Connor Daniel David Dean Dylan Edward Elizabeth Emily Eric Eva Frank George Graham
    Grant Henry Ian Jack Jacob Jake James Jamie Jane Jason Jay Jeff Jennifer Jeremy Jessica Jim Joe John Jonathan
    Joseph Joshua Justin Kate Kelly Kevin Kyle Laura Leon Lewis Lisa Louis Lucy Luke Marcus Maria Martin Mary Matthew
    Max Michael Michelle Morgan Nick Oliver Patrick Paul Peter Rachel Richard Robert Ruby Russell Ryan Sam Sarah Scott
    Sean Simon Stephen Steven Susan Taylor Thomas Tim Tom Tony Tyler Victoria Warren William
""")
PLACES = ("store", "garden", "restaurant", "school", "hospital", "office", "house", "station")
THINGS = ("ring", "kiss", "bone", "basketball", "computer", "necklace", "drink", "snack")
EVENTS = _words("""
    abduction accord affair agreement appraisal assault assessment attack attempts campaign captivity case challenge
    chaos clash collaboration confrontation conspiracy contract cooperation crisis crusade deal decline decree
    development disagreement dispute domination dynasty effort enterprise exchange expedition exploration fight flood
    friendship hostility imprisonment insurgency invasion investigation journey kingdom marriage merger mission
    negotiations notoriety operation order outbreak outcome partnership plague plan plot practice process program
    progress project pursuit quest raid reforms reign relationship retaliation riot rise rivalry romance rule sanctions
    shift siege slump stage stay struggle study survey tests testing tour tradition training treaty trial trip unrest
    uprising voyage war warfare work
""")
"""Things that last for years (Hanna et al. 2023 use a like list)."""
