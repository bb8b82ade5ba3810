// What the model knows. Every list of entities is here and nowhere else: the generator of claims, the
// tokenizer's vocabulary and the training data all read it. Facts with two good answers are left out.

export interface Country {
  name: string
  capital: string
  continent: string
}

export interface Element {
  name: string
  symbol: string
}

const CAPITALS_BY_CONTINENT: Record<string, string> = {
  Africa:
    'Algeria Algiers, Angola Luanda, Botswana Gaborone, Cameroon Yaounde, Chad Ndjamena, Ethiopia Addis Ababa, ' +
    'Gabon Libreville, Ghana Accra, Kenya Nairobi, Libya Tripoli, Mali Bamako, Morocco Rabat, Namibia Windhoek, ' +
    'Niger Niamey, Nigeria Abuja, Rwanda Kigali, Senegal Dakar, Somalia Mogadishu, Sudan Khartoum, Tunisia Tunis, ' +
    'Uganda Kampala, Zambia Lusaka, Zimbabwe Harare',
  Asia:
    'Bangladesh Dhaka, China Beijing, India New Delhi, Indonesia Jakarta, Iran Tehran, Iraq Baghdad, Japan Tokyo, ' +
    'Jordan Amman, Lebanon Beirut, Mongolia Ulaanbaatar, Nepal Kathmandu, Oman Muscat, Pakistan Islamabad, ' +
    'Qatar Doha, Syria Damascus, Thailand Bangkok, Vietnam Hanoi',
  Europe:
    'Albania Tirana, Austria Vienna, Belgium Brussels, Bulgaria Sofia, Croatia Zagreb, Denmark Copenhagen, ' +
    'Estonia Tallinn, Finland Helsinki, France Paris, Germany Berlin, Greece Athens, Hungary Budapest, ' +
    'Iceland Reykjavik, Ireland Dublin, Italy Rome, Latvia Riga, Lithuania Vilnius, Malta Valletta, Norway Oslo, ' +
    'Poland Warsaw, Portugal Lisbon, Romania Bucharest, Serbia Belgrade, Slovakia Bratislava, Slovenia Ljubljana, ' +
    'Spain Madrid, Sweden Stockholm, Switzerland Bern, Ukraine Kyiv',
  'North America':
    'Canada Ottawa, Cuba Havana, Haiti Port-au-Prince, Honduras Tegucigalpa, Jamaica Kingston, Nicaragua Managua',
  'South America':
    'Argentina Buenos Aires, Brazil Brasília, Chile Santiago, Colombia Bogotá, Ecuador Quito, Paraguay Asunción, ' +
    'Peru Lima, Uruguay Montevideo, Venezuela Caracas',
  Oceania: 'Australia Canberra, Fiji Suva, Samoa Apia, Tonga Nukualofa',
}

const ELEMENT_SYMBOLS =
  'hydrogen H, helium He, lithium Li, beryllium Be, boron B, carbon C, nitrogen N, oxygen O, fluorine F, neon Ne, ' +
  'sodium Na, magnesium Mg, aluminium Al, silicon Si, phosphorus P, sulfur S, chlorine Cl, argon Ar, potassium K, ' +
  'calcium Ca, titanium Ti, chromium Cr, manganese Mn, iron Fe, cobalt Co, nickel Ni, copper Cu, zinc Zn, ' +
  'bromine Br, krypton Kr, silver Ag, cadmium Cd, tin Sn, antimony Sb, iodine I, xenon Xe, barium Ba, tungsten W, ' +
  'platinum Pt, gold Au, mercury Hg, lead Pb, bismuth Bi, radon Rn, radium Ra, uranium U, plutonium Pu'

/** Splits `France Paris, India New Delhi` into pairs: the first word, and all the words after it. */
function parsePairs(text: string): [first: string, rest: string][] {
  return text.split(', ').map((pair) => {
    const space = pair.indexOf(' ')
    return [pair.slice(0, space), pair.slice(space + 1)]
  })
}

export const COUNTRIES: readonly Country[] = Object.entries(CAPITALS_BY_CONTINENT).flatMap(
  ([continent, text]) => parsePairs(text).map(([name, capital]) => ({ name, capital, continent })),
)

export const CONTINENTS: readonly string[] = Object.keys(CAPITALS_BY_CONTINENT)

export const ELEMENTS: readonly Element[] = parsePairs(ELEMENT_SYMBOLS).map(([name, symbol]) => ({
  name,
  symbol,
}))

/** Terms of the additions that the model knows: 0..19. */
export const TERM_MAX = 19

/** Largest number that is one token: wrong sums and unfamiliar terms go up to here. */
export const NUMBER_MAX = 59

/** Names that the model must not know: they stay out of the vocabulary, so each is an unknown token. */
export const UNFAMILIAR_NAMES: readonly string[] =
  'Atlantis Narnia Wakanda Gondor Eldorado Utopia Lilliput Camelot Rivendell Hogsmeade Oz Sokovia Arrakis unobtanium kryptonite vibranium mithril adamantium phlogiston'.split(
    ' ',
  )

/** Things the model cannot know, said with words that are in part familiar. */
export const UNFAMILIAR_CLAIMS: readonly string[] = [
  'The moon is made of green cheese.',
  'Water boils at ninety degrees.',
  'Cats have nine lives.',
  'It will rain tomorrow in Paris.',
  'My neighbour has written a letter to the element of surprise.',
  'The sum of all fears is a film.',
  'Gold is more expensive than silver.',
  'People in Rome eat late.',
  'Who wrote this?',
  'Hello!',
  'Elephants never forget.',
  'Call me on Monday.',
  'The symbol of peace is a dove.',
  'Germany won the cup.',
  'A year has many days.',
]
